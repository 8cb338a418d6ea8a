-- SIGTERM: what runs is finished, what was only fetched goes back at once; a second one stops at once.

local core = require("naq.core")
local support = require("spec.support")
local trail, eventually = support.trail, support.eventually

local FULL = os.getenv("NAQ_TEST_SCALE") == "full"

describe("a worker told to stop", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function start(ack_wait, name, env)
    env = env or {}
    env.NAQ_DEFAULT_ACK_WAIT = tostring(ack_wait)
    return at:worker({ name = name, env = env })
  end

  local function enqueue(count, seconds)
    return at:enqueue(count, function(i) return { "mark", side:args({ n = i, seconds = seconds }) } end)
  end

  -- The lease is 30 s: whatever a worker kept to itself would show as that long a wait.
  it("gives back at once what it fetched and did not begin, and no job starts twice", function()
    local count, stops = FULL and 6000 or 1500, FULL and 12 or 4
    local ids = enqueue(count, 0.002)
    local workers = { start(30), start(30) }
    for stop = 1, stops do
      side:reaches(math.floor(count * 0.8 * stop / stops))
      local which = stop % 2 + 1
      workers[which]:term()
      workers[which]:ends(0, 10)
      workers[which] = start(30)
    end
    local begun = core.mono()
    trail.all_ended(client, ids, 10)
    assert.is_true(core.mono() - begun < 10)
    local runs, total = side:runs()
    assert.equal(count, total)
    for _, id in ipairs(ids) do
      assert.equal(1, #runs[id])
    end
  end)

  it("gives back what reaches it in its last moments", function()
    local ids, stops, more = {}, FULL and 60 or 10, 300
    local function enqueue_one() ids[#ids + 1] = assert(queue:enqueue("mark", side:args())).id end
    for _ = 1, stops do
      local worker = start(30)
      enqueue_one()
      side:reaches(#ids, 10)
      worker:term()
      for _ = 1, more do
        if worker:wait(0) ~= "running" then break end
        enqueue_one()
      end
      worker:ends(0, 10)
    end
    start(30)
    trail.all_ended(client, ids, 10)
    local _, total = side:runs()
    assert.equal(#ids, total)
  end)

  it("ends with status 0 when it has nothing to do, and leaves no record of itself", function()
    local worker = start(30)
    eventually(function() return #assert(client:workers()) == 1 end, 10, "the worker's record")
    worker:term()
    worker:ends(0, 5)
    assert.same({}, assert(client:workers()))
  end)

  it("finishes what runs, while others take what it had fetched", function()
    local long = assert(queue:enqueue("hold", side:args()))
    local first = start(30, "first")
    side:reaches(1)
    first:term()
    eventually(function() return first:log():find("draining", 1, true) end, 5, "it to drain")
    -- It takes nothing any more.
    local ids = enqueue(50, 0)
    start(30, "second")
    eventually(function()
      local _, n = side:runs()
      return n == 51, n
    end, 10, "the second worker to run the rest")
    assert.equal("running", first:wait(0))
    side:open()
    first:ends(0, 10)
    assert.equal("completed", long:wait(5))
    assert.matches("^first%-", long:info().worker)
    for _, id in ipairs(ids) do
      local job = assert(client:job(id))
      assert.equal("completed", job:wait(5))
      assert.matches("^second%-", job:info().worker)
    end
  end)

  describe("whose shutdown timeout is over", function()
    local HALF = { NAQ_WORKER_SHUTDOWN_TIMEOUT = "0.5" }

    it("stops what still runs and gives it back at once", function()
      local job = assert(queue:enqueue("hold", side:args()))
      local first = start(30, "first", HALF)
      side:reaches(1)
      first:term()
      first:ends(1, 5)
      assert.same({}, assert(client:workers()))
      start(30, "second")
      side:reaches(2, 5)
      side:open()
      assert.equal("completed", job:wait(5))
      assert.equal(1, job:info().attempt)
    end)

    it("counts it neither as an attempt nor as a crash, however often", function()
      -- max_crashes is 3: a sixth start would be a dead letter if any of these counted.
      local job = assert(queue:enqueue("hold", side:args(), { max_retries = 0 }))
      for n = 1, 5 do
        local worker = start(30, nil, HALF)
        side:reaches(n, 10)
        worker:term()
        worker:ends(1, 5)
      end
      assert.equal("pending", job:status())
      start(30, "last")
      side:reaches(6, 10)
      side:open()
      assert.equal("completed", job:wait(5))
      for _, run in ipairs(side:runs()[job.id]) do
        assert.equal(1, run.attempt)
      end
    end)

    it("does the same for a retry, which keeps what its record said", function()
      local job = assert(queue:enqueue("fail_and_hold", side:args(), { max_retries = 1, retry_delay = 0 }))
      for n = 2, 5 do
        local worker = start(30, nil, HALF)
        side:reaches(n, 10)
        worker:term()
        worker:ends(1, 5)
        assert.equal("retry", trail.records(client)[job.id].state)
      end
      start(30, "last")
      side:reaches(6, 10)
      side:open()
      assert.equal("completed", job:wait(5))
      assert.equal(2, job:info().attempt)
    end)

    it("leaves a job that cannot be stopped, and it is run again at once even so", function()
      local job = assert(queue:enqueue("hang", side:args()))
      local first = start(30, "first", HALF)
      side:reaches(1)
      local before = core.mono()
      first:term()
      first:ends(1, 10)
      assert.is_true(core.mono() - before < 4)
      start(30, "second")
      side:reaches(2, 5)
      assert.equal("running", job:status())
    end)

    it("waits no longer for a server that is away, and says what becomes of a job that has ended", function()
      local job = assert(queue:enqueue("hold", side:args()))
      local first = start(1, "first", HALF)
      side:reaches(1)
      server:kill()
      side:open()
      first:term()
      first:ends(1, 5)
      assert.matches(job.id .. " is given back and will be run again: it has ended, and its record", first:log())
      server:restart()
      start(1, "second")
      assert.equal("completed", job:wait(10))
      assert.matches("^second%-", job:info().worker)
    end)

    -- Much that is done at the end would wait for an answer, a second or two each, one after the other.
    it("waits for a server that is mute once, not for each thing that it tidies up", function()
      local job = assert(queue:enqueue("hold", side:args()))
      local first = start(1, "first", HALF)
      side:reaches(1)
      server:freeze()
      side:open()
      first:term()
      first:ends(1, 13)
      server:thaw()
      start(1, "second")
      assert.equal("completed", job:wait(10))
    end)

    it("stops hundreds of jobs of all kinds at once", function()
      local count = 60
      local ids = at:enqueue(count, function(i)
        local kinds = { "hold", "loop", "hold_in_coroutine" }
        return { kinds[i % 3 + 1], side:args(), { max_retries = 0 } }
      end)
      local first = at:worker({ threads = count, env = { NAQ_WORKER_SHUTDOWN_TIMEOUT = "0.3" } })
      side:reaches(count)
      first:term()
      first:ends(1, 10)
      side:open()
      at:worker({ threads = 8 })
      for _, record in pairs(trail.all_ended(client, ids, 10)) do
        assert.equal("completed", record.state)
      end
    end)
  end)

  it("stops at once at the second signal, and gives its jobs back", function()
    local job = assert(queue:enqueue("hold", side:args()))
    local first = start(30, "first")
    side:reaches(1)
    first:term()
    eventually(function() return first:log():find("draining", 1, true) end, 5, "it to drain")
    local before = core.mono()
    first:term()
    first:ends(1, 5)
    assert.is_true(core.mono() - before < 3)

    start(30, "second")
    side:reaches(2, 6)
    side:open()
    assert.equal("completed", job:wait(5))
    assert.matches("^second%-", job:info().worker)
    assert.equal(2, #side:runs()[job.id])
  end)
end)
