-- Recurring schedules while leaders die, freeze and lose their server: each of their times is run once, none
-- is left out.

local support = require("spec.support")
local eventually, process = support.eventually, support.process

local SCHEDULES, RUNS, INTERVAL = 40, 24, 0.4

describe("recurring schedules", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function()
    client, queue, side, server = at:begin()
    assert(client:ensure_layout())
    at:worker({ args = { "--no-scheduler" }, threads = 4 })
  end)
  after_each(function() at:finish() end)

  local function start(id)
    local p = process.start({ "scheduler", "-u", server.url, "-i", id, "-l", "debug" })
    p.id = id
    return p
  end

  local function ready(p, seconds)
    eventually(function() return p:log():find("ready after", 1, true) end, seconds or 10, p.id .. " to be ready")
    return p
  end

  -- Schedules with a first time in a second; their first times.
  local function create()
    local firsts = {}
    for i = 1, SCHEDULES do
      local id = ("s%d"):format(i)
      local made = assert(queue:schedule(id, {
        job = "mark", args = side:args(), interval = INTERVAL, ["repeat"] = RUNS,
      }))
      firsts[id] = assert(made:info()).next_run
    end
    return firsts
  end

  local function finished(seconds)
    eventually(function()
      for _, row in ipairs(assert(client:schedules())) do
        if row.state ~= "finished" then return false, row.id .. " has run " .. row.runs end
      end
      return true
    end, seconds, "all schedules to finish")
  end

  local function each_time_once(firsts)
    eventually(function()
      local stats = assert(queue:stats())
      return stats.pending == 0 and stats.running == 0
    end, 20, "the queue to be empty")
    local runs, total = side:runs(), 0
    for id, first in pairs(firsts) do
      for i = 0, RUNS - 1 do
        local run = ("%s-%.0f"):format(id, math.floor((first + i * INTERVAL) * 1000 + 0.5))
        assert.equal(1, #(runs[run] or {}), "runs of " .. run)
        total = total + 1
      end
    end
    local seen = 0
    for _ in pairs(runs) do
      seen = seen + 1
    end
    assert.equal(total, seen)
  end

  it("go on within 6 s when their leader is killed", function()
    local first = ready(start("first"))
    local second = start("second")
    local firsts = create()
    side:reaches(SCHEDULES * 3)
    first:kill()
    ready(second)
    finished(40)
    each_time_once(firsts)
  end)

  it("are not fired by a leader that was frozen past its lease", function()
    local first = ready(start("first"))
    local second = start("second")
    local firsts = create()
    side:reaches(SCHEDULES * 3)
    first:freeze()
    ready(second)
    first:thaw()
    finished(40)
    each_time_once(firsts)
  end)

  it("are handed over at once by a leader that stops", function()
    local first = ready(start("first"))
    local second = start("second")
    local firsts = create()
    side:reaches(SCHEDULES * 2)
    first:term()
    ready(second, 3)
    finished(40)
    each_time_once(firsts)
  end)

  it("go on when the server was killed", function()
    ready(start("first"))
    local firsts = create()
    side:reaches(SCHEDULES * 3)
    server:kill()
    server:restart()
    finished(60)
    each_time_once(firsts)
  end)
end)
