-- The concurrency of a queue while its workers are killed and frozen, and the server restarts.

local core = require("naq.core")
local spans = require("spec.support.spans")
local support = require("spec.support")
local eventually = support.eventually

local FILE = support.root .. "/spec/nats/span_jobs.lua"
-- csrc/run/lease.h
local LEASE = 8

describe("a queue's concurrency", function()
  local at = support.scene()
  local queue, side, server
  before_each(function()
    local _
    _, queue, side, server = at:begin()
    assert(queue:configure({ ack_wait = 2 }))
  end)
  after_each(function() at:finish() end)

  local function worker() return at:worker({ jobs = { FILE } }) end

  local function fill(count, seconds)
    return at:enqueue(count, function() return { "span", { trail = side.path, seconds = seconds } } end)
  end

  local function began(pid)
    local n = 0
    for _, event in ipairs(spans.read(side.path)) do
      if event.kind == "B" and (not pid or event.pid == pid) then n = n + 1 end
    end
    return n
  end

  local function ended() -- how many jobs, not attempts
    local ids, n = {}, 0
    for _, event in ipairs(spans.read(side.path)) do
      if event.kind == "E" and not ids[event.id] then
        ids[event.id] = true
        n = n + 1
      end
    end
    return n
  end

  it("given a killed worker that held all slots: they come back after its lease, not before", function()
    assert(queue:configure({ concurrency = 2 }))
    fill(2, 60)
    local victim = worker()
    eventually(function() return began() == 2 end, 10)
    fill(4, 0.01)
    worker()
    local killed = core.now()
    victim:kill()
    eventually(function() return began() >= 4 end, LEASE + 15, "others to begin")
    local events = spans.read(side.path)
    local times = spans.starts(events)
    assert.is_true(times[3] - killed >= LEASE - 3, times[3] - killed)
    assert.is_true(times[3] - killed <= LEASE + 3, times[3] - killed)
    assert.is_true(spans.most(events, { [victim.pid] = killed }) <= 2)
  end)

  it("given a server that restarts: is kept, and work goes on", function()
    assert(queue:configure({ concurrency = 3 }))
    fill(600, 0.02)
    for _ = 1, 3 do
      worker()
    end
    for round = 1, 3 do
      eventually(function() return began() >= 50 * round end, 20)
      server:kill()
      server:restart()
    end
    eventually(function() return ended() == 600, ended() end, 60, "600 jobs to end")
    assert.is_true(spans.most(spans.read(side.path)) <= 3)
  end)

  it("given a worker that is frozen beyond its lease: the others go on, and it begins nothing", function()
    assert(queue:configure({ concurrency = 2 }))
    fill(400, 0.05)
    local victim = worker()
    eventually(function() return began() > 5 end, 10)
    victim:freeze()
    local held = began(victim.pid)
    local other = worker()
    eventually(function() return began(other.pid) > 20 end, LEASE + 10)
    local thawed = core.now()
    victim:thaw()
    eventually(function() return ended() == 400, ended() end, 60, "400 jobs to end")
    -- What it was running when it froze ends while others have its slots; nothing else is over.
    local events = spans.read(side.path)
    assert.is_true(spans.most(events) <= 4)
    local later = {}
    for _, event in ipairs(events) do
      if event.at > thawed + 1 then later[#later + 1] = event end
    end
    assert.is_true(spans.most(later) <= 2, spans.most(later))
    assert.is_true(held > 0)
  end)
end)
