-- Schedulers that die, freeze, stop and meet each other: what is due is released by one of them, once.

local core = require("naq.core")
local support = require("spec.support")
local eventually, process, trail = support.eventually, support.process, support.trail

-- By default: the lease of 5 s, a moment to begin.
local TAKEOVER_SECONDS = 6

describe("schedulers", function()
  local at = support.scene()
  local client, side, server
  before_each(function()
    local _
    client, _, side, server = at:begin()
    at:worker({ args = { "--no-scheduler" } })
  end)
  after_each(function() at:finish() end)

  local function start(id, ...)
    local p = process.start({ "scheduler", "-u", server.url, "-i", id, "-l", "debug", ... })
    p.id = id
    return p
  end

  local function leader() return (client:leader() or {}).leader end

  local function ready(p, seconds)
    eventually(function() return p:log():find("ready after", 1, true) end, seconds or 10, p.id .. " to be ready")
    return p
  end

  -- So many jobs, the first in `first` seconds, spread over `over` seconds.
  local function enqueue(count, first, over)
    local from = core.now() + first
    return at:enqueue(count, function(i)
      return { "mark", side:args({ due = from + over * i / count }), { at = from + over * i / count } }
    end)
  end

  local function each_ran_once(ids, seconds, after_a_kill)
    trail.all_ended(client, ids, seconds, after_a_kill)
    local runs = side:runs()
    for _, id in ipairs(ids) do
      assert.equal(1, #(runs[id] or {}), "runs of job " .. id)
    end
    return runs
  end

  it("take over from one that was killed, within 6 s; nothing is lost, nothing fires twice", function()
    local first = ready(start("first"))
    local second = start("second")
    local ids = enqueue(400, 1, 4)
    side:reaches(80)
    first:kill()
    local killed = core.mono()
    ready(second)
    local took = core.mono() - killed
    assert.is_true(took < TAKEOVER_SECONDS, ("took %.1f s"):format(took))
    each_ran_once(ids, 20)
    assert.equal("second", leader())
  end)

  it("take over in the middle of a burst", function()
    local first = ready(start("first"))
    local second = start("second")
    local ids = enqueue(5000, 2, 0)
    side:reaches(100)
    first:kill()
    ready(second)
    each_ran_once(ids, 40)
  end)

  it("release nothing any more once they were frozen for longer than their lease", function()
    local first = ready(start("first"))
    local second = start("second")
    local ids = enqueue(300, 1, 8)
    side:reaches(20)
    first:freeze()
    ready(second)
    first:thaw()
    eventually(function()
      return first:log():find("its lease is gone", 1, true) or first:log():find("reconnect", 1, true)
    end, 10, "the first to notice")
    each_ran_once(ids, 30)
    assert.equal("second", leader())
  end)

  it("hand over at once when they are stopped", function()
    local first = ready(start("first"))
    local second = start("second")
    eventually(function() return server:log() and second:log() end, 1, "it to run")
    local ids = enqueue(200, 0.5, 3)
    side:reaches(20)
    first:term()
    local stopped = core.mono()
    ready(second, 3)
    assert.is_true(core.mono() - stopped < 2, ("took %.1f s"):format(core.mono() - stopped))
    assert.equal("exited", (first:wait(5)))
    each_ran_once(ids, 15)
  end)

  it("are two for a moment: one gives in, nothing fires twice", function()
    local first = ready(start("first"))
    local second = start("second")
    local ids = enqueue(2000, 1, 4)
    side:reaches(200)
    -- Somebody's hand removes the lease under the first.
    assert(client.conn:kv_delete("naq_leader", "scheduler"))
    ready(second)
    eventually(function() return first:log():find("its lease is gone", 1, true) end, 5, "the first to give in")
    each_ran_once(ids, 20)
  end)

  it("go on after the server was killed in the middle of releasing", function()
    ready(start("first"))
    local ids = enqueue(3000, 1.5, 1)
    side:reaches(300)
    server:kill()
    server:restart()
    each_ran_once(ids, 60, true)
  end)

  it("refuse to run alone while another leads", function()
    ready(start("first"))
    local status, _, message = process.naq("scheduler", "-u", server.url, "-i", "second", "--disable-ha")
    assert.equal(1, status)
    assert.matches("scheduler second: first leads", message, 1, true)
    local refused = core.scheduler({ connect = { servers = { server.url } }, alone = true })
    assert.is_nil(refused)
  end)

  it("are not needed where a worker runs: it releases its own", function()
    at:worker({ name = "whole" })
    local ids = enqueue(50, 0.2, 1)
    each_ran_once(ids, 15)
    assert.matches("^whole%-", leader())
  end)
end)
