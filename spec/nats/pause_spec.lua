-- Queues that are paused: what workers do about it, and how it is seen.

local core = require("naq.core")
local moment = require("naq.moment")
local support = require("spec.support")
local eventually, naq = support.eventually, support.naq

local ROOT = support.root

describe("a paused queue", function()
  local at = support.scene()
  local queue, side, server
  before_each(function()
    local _
    _, queue, side, server = at:begin()
  end)
  after_each(function() at:finish() end)

  local function says(worker, text, seconds)
    eventually(function() return worker:log():find(text, 1, true), worker:log() end, seconds, text)
  end

  local function counts()
    local stats = assert(queue:stats())
    return stats.pending + stats.running, stats.paused
  end

  it("takes jobs and starts none, told apart from an empty one", function()
    local worker = at:worker()
    assert(queue:enqueue("mark", side:args())):wait(10)
    assert.is_true(queue:pause())
    says(worker, "paused", 1)
    for _ = 1, 20 do
      assert(queue:enqueue("mark", side:args()))
    end
    local n, paused = counts()
    assert.same({ 20, true }, { n, paused })
    local _, ran = side:runs()
    assert.equal(1, ran)
    assert.is_true(queue:resume())
    side:reaches(21, 5)
    n, paused = counts()
    assert.is_false(paused)
    assert.is_true(n <= 4)
  end)

  it("gives back what was fetched and not begun; what runs goes on", function()
    local worker = at:worker({ threads = 2 })
    local total, ran = 0, 0
    -- Quick ones: it fetches ahead. Always more than it can run until it is asked to pause.
    local function fill()
      if total - ran > 10000 then return end
      at:enqueue(10000, function() return { "mark", side:args({ seconds = 0.0005 }) } end)
      total = total + 10000
    end
    local function pause(round)
      assert(queue:pause())
      local paused_at, stamp = core.now(), nil
      eventually(function()
        local said = 0
        for logged in worker:log():gmatch("(%S+) info +queue [^\n]*: paused\n") do
          said, stamp = said + 1, logged
        end
        return said == round, worker:log()
      end, 10, "the worker to pause")
      -- Within a second, by the worker's own log: this process may see it later.
      assert.is_true(moment.seconds(stamp) - paused_at < 1, stamp)
      local _, before = side:runs()
      assert.is_true(before < total)
      return before
    end
    for round = 1, 8 do
      fill()
      side:reaches(ran + 100, 20)
      local before = pause(round)
      -- All that it had fetched has gone back then, but for what its two threads run.
      eventually(function()
        local waiting = counts()
        ran = select(2, side:runs())
        return waiting + ran == total, ("%d wait, %d ran"):format(waiting, ran)
      end, 5)
      assert.is_true(ran - before <= 2, ("%d jobs began after the pause"):format(ran - before))
      assert(queue:resume())
    end
    fill()
    side:reaches(ran + 100, 20)
    local before = pause(9)
    -- A second worker leaves alone what the first gave back.
    local second = at:worker({ threads = 2 })
    says(second, "paused", 5)
    eventually(function() return assert(queue:stats()).running == 0 end, 5)
    local _, after = side:runs()
    assert.is_true(after - before <= 2, ("%d jobs began after the pause"):format(after - before))
    assert.equal(100, #assert(queue:peek(100)))
    assert(queue:resume())
    side:reaches(total, 120)
    assert.equal(total, (select(2, side:runs())))
  end)

  it("stays so through restarts of worker and server", function()
    assert(queue:pause())
    server:halt()
    server:restart()
    eventually(function() return queue:enqueue("mark", side:args()) end, 10)
    local worker = at:worker()
    says(worker, "paused", 5)
    assert.equal(1, (counts()))
    server:halt()
    server:restart()
    says(worker, "connected again", 10)
    eventually(function() return queue:enqueue("mark", side:args()) end, 10)
    local _, ran = side:runs()
    assert.equal(0, ran)
    assert(queue:resume())
    side:reaches(2, 10)
  end)

  it("keeps what is due to be retried until it is resumed", function()
    local worker = at:worker()
    local job = assert(queue:enqueue("fail_first", side:args(), { retry_delay = 0.3, retry_jitter = 0 }))
    side:reaches(1)
    assert(queue:pause())
    says(worker, "paused", 1)
    -- The failed attempt's message is there for a moment, too, until the next one is stored.
    eventually(function() return job:info().attempt == 2 and job:status() == "pending" end, 5, "the retry to be due")
    assert.equal(1, #assert(queue:peek()))
    local _, ran = side:runs()
    assert.equal(1, ran)
    assert(queue:resume())
    assert.equal("completed", job:wait(10))
  end)

  it("holds no burst worker up", function()
    assert(queue:enqueue("mark", side:args()))
    assert(queue:pause())
    local status, _, errors =
      naq("-u", server.url, "worker", queue.name, "--burst", "--jobs", ROOT .. "/spec/crash/jobs/marks.lua")
    assert.equal(0, status, errors)
    assert.equal(1, (counts()))
  end)

  it("may be paused by a file, as long as nothing is set in NATS", function()
    local file = side.dir .. "/naq.yaml"
    local f = assert(io.open(file, "wb"))
    f:write(("queues:\n  configs:\n    %s: {paused: true}\n"):format(queue.name))
    f:close()
    local worker = at:worker({ args = { "--config", file } })
    says(worker, "paused", 5)
    local _, out = naq("-u", server.url, "--config", file, "queue", "stats", queue.name, "--json")
    assert.is_true(core.decode(out).paused)
    assert(queue:enqueue("mark", side:args()))
    assert(queue:resume())
    side:reaches(1, 5)
    says(worker, "paused is set in NATS", 5)
    local _, said = worker:log():gsub("paused is set in NATS", "")
    assert.equal(1, said)
  end)
end)
