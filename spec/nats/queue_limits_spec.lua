-- Concurrency and rate of a queue, kept by all workers together.

local core = require("naq.core")
local spans = require("spec.support.spans")
local support = require("spec.support")
local eventually = support.eventually

local FILE = support.root .. "/spec/nats/span_jobs.lua"
local PRIORITIES = { "low", "normal", "high" }

describe("a limited queue", function()
  local at = support.scene()
  local queue, side
  before_each(function()
    local _
    _, queue, side = at:begin()
  end)
  after_each(function() at:finish() end)

  local function worker(options)
    options = options or {}
    options.jobs = { FILE }
    return at:worker(options)
  end

  local function fill(count, seconds)
    return at:enqueue(count, function(i)
      return { "span", { trail = side.path, seconds = seconds }, { priority = PRIORITIES[i % 3 + 1] } }
    end)
  end

  local function ended() -- how many
    local n = 0
    for _, event in ipairs(spans.read(side.path)) do
      if event.kind == "E" then n = n + 1 end
    end
    return n
  end

  local function all_end(count, seconds)
    eventually(function() return ended() >= count, ended() end, seconds, count .. " jobs to end")
  end

  it("never runs more jobs than its concurrency, on four workers", function()
    assert(queue:configure({ concurrency = 3 }))
    fill(120, 0.02)
    for _ = 1, 4 do
      worker()
    end
    all_end(120, 30)
    local events = spans.read(side.path)
    assert.equal(3, spans.most(events))
    assert.equal(120, #spans.starts(events))
  end)

  it("uses its concurrency to the full, one after the other when it is 1", function()
    assert(queue:configure({ concurrency = 1 }))
    fill(60, 0.01)
    local first, second = worker(), worker()
    all_end(60, 30)
    local events = spans.read(side.path)
    local times = spans.starts(events)
    assert.equal(1, spans.most(events))
    -- Ten milliseconds each, and what lies between them.
    assert.is_true(times[60] - times[1] < 8, times[60] - times[1])
    assert.truthy(first and second)
  end)

  it("may be limited, widened and freed while jobs run", function()
    worker({ threads = 8 })
    worker({ threads = 8 })
    fill(1000, 0.05) -- far more than run while it is changed
    eventually(function() return ended() > 20 end, 10)
    assert(queue:configure({ concurrency = 2 }))
    local from = core.now() + 1
    eventually(function() return core.now() > from + 0.5 end, 3)
    local limited = {}
    for _, event in ipairs(spans.read(side.path)) do
      if event.at > from then limited[#limited + 1] = event end
    end
    assert.is_true(spans.most(limited) <= 2, spans.most(limited))
    assert(queue:configure({ concurrency = 6 }))
    from = core.now() + 1
    eventually(function() return core.now() > from + 0.5 end, 3)
    limited = {}
    for _, event in ipairs(spans.read(side.path)) do
      if event.at > from then limited[#limited + 1] = event end
    end
    assert.equal(6, spans.most(limited))
    assert(queue:configure({ concurrency = require("naq").null }))
    all_end(1000, 30)
  end)

  it("starts as many jobs a second as its rate, within 5 % over ten seconds on four workers", function()
    assert(queue:configure({ rate_limit = "100/s" }))
    for _ = 1, 4 do
      worker()
    end
    fill(1400)
    -- How long this process was held up meanwhile: so, and as much, may the workers have been.
    local held_up, until_then = 0, core.mono() + 25
    while ended() < 1250 and core.mono() < until_then do
      local asleep = core.mono()
      core.sleep(0.02)
      local took = core.mono() - asleep
      if took > 0.1 then held_up = held_up + took end
    end
    local times = spans.starts(spans.read(side.path))
    assert.is_true(#times >= 1250, #times)
    -- From the first one on, and from any later moment. Never more; fewer only where nothing could run.
    for from = times[1], times[1] + 2, 0.5 do
      local n = 0
      for _, t in ipairs(times) do
        if t >= from and t < from + 10 then n = n + 1 end
      end
      assert.is_true(n <= 1050, n .. " in ten seconds")
      assert.is_true(n >= 950 - 100 * held_up, ("%d in ten seconds, held up for %g"):format(n, held_up))
    end
  end)

  it("is limited by itself: one worker serves it beside others, limited and free", function()
    local other, free = at.client:queue(support.fresh_name()), at.client:queue(support.fresh_name())
    assert(queue:configure({ concurrency = 1 }))
    assert(other:configure({ concurrency = 2, rate_limit = "50/s" }))
    local ids = {}
    for name, one in pairs({ one = queue, other = other, free = free }) do
      for _ = 1, 40 do
        ids[assert(one:enqueue("span", { trail = side.path, seconds = 0.01 })).id] = name
      end
    end
    for _ = 1, 2 do
      worker({ queues = { queue.name, other.name, free.name }, threads = 6 })
    end
    all_end(120, 20)
    local by = { one = {}, other = {}, free = {} }
    for _, event in ipairs(spans.read(side.path)) do
      table.insert(by[ids[event.id]], event)
    end
    assert.equal(1, spans.most(by.one))
    assert.is_true(spans.most(by.other) <= 2)
    assert.is_true(spans.most(by.free) > 2)
    local times = spans.starts(by.other)
    local took = times[40] - times[1]
    assert.is_true(took > 0.6, took) -- 0.7 by the rate; at most two would run for 0.2
  end)

  it("keeps a slow rate: one at a time, none at once", function()
    assert(queue:configure({ rate_limit = "240/m" }))
    for _ = 1, 3 do
      worker()
    end
    fill(12)
    all_end(12, 10)
    local times = spans.starts(spans.read(side.path))
    local whole, gaps = times[12] - times[1], {}
    for i = 1, 11 do
      gaps[i] = times[i + 1] - times[i]
    end
    table.sort(gaps)
    -- A quarter of a second lies between two; that of a machine held up once is not the usual one.
    assert.is_true(whole > 2.5, whole)
    assert.is_true(gaps[6] > 0.2 and gaps[6] < 0.35, gaps[6])
  end)

  it("takes the high ones first, and the low ones too", function()
    assert(queue:configure({ concurrency = 1 }))
    local ids = fill(90, 0.002)
    local priority = {}
    for i, id in ipairs(ids) do
      priority[id] = PRIORITIES[i % 3 + 1]
    end
    worker()
    all_end(90, 20)
    local _, order = spans.starts(spans.read(side.path))
    local among = { high = 0, normal = 0, low = 0 }
    for i = 1, 32 do
      among[priority[order[i]]] = among[priority[order[i]]] + 1
    end
    local said = core.encode(among)
    assert.is_true(among.high >= 22 and among.normal >= 3 and among.low >= 3, said)
  end)
end)
