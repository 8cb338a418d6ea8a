-- nats-server dies without a word and comes back with its store: what it confirmed is finished, and
-- nobody has to be started again.

local support = require("spec.support")
local eventually, trail = support.eventually, support.trail

local FULL = os.getenv("NAQ_TEST_SCALE") == "full"
local JOBS = support.root .. "/spec/crash/jobs"

describe("nats-server killed with SIGKILL", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function start_worker()
    return at:worker({ env = { NAQ_DEFAULT_ACK_WAIT = "2", NAQ_WORKER_HEARTBEAT_INTERVAL = "1" } })
  end

  local function lines(path)
    local list, f = {}, io.open(path, "rb")
    if not f then return list end
    for line in f:read("*a"):gmatch("([^\n]*)\n") do
      list[#list + 1] = line
    end
    f:close()
    return list
  end

  it("loses no confirmed job; workers and producers carry on by themselves", function()
    local count, kills = FULL and 20000 or 3000, FULL and 8 or 3
    local workers = { start_worker(), start_worker() }
    -- One that is just starting ends when it loses its server.
    for _, worker in ipairs(workers) do
      eventually(function() return worker:log():find("ready, threads", 1, true) end, 60, "the worker to be ready")
    end
    local producers, files = {}, {}
    for i = 1, 2 do
      files[i] = side.dir .. "/accepted" .. i
      local args = { "run", JOBS .. "/producer.lua", queue.name, count / 2, side.path, files[i] }
      producers[i] = support.process.start(args, { env = { NAQ_NATS_URL = server.url } })
    end

    for i, file in ipairs(files) do
      -- So does a producer that connects.
      eventually(function() return #lines(file) > 0, producers[i]:log() end, 60, "the producer to begin")
    end

    for kill = 1, kills do
      eventually(function()
        local n = #lines(files[1]) + #lines(files[2])
        return n >= count * 0.8 * kill / kills, n
      end, 60, "the producers to go on")
      server:kill()
      server:restart()
    end

    for _, producer in ipairs(producers) do
      producer:ends(0, 60)
    end
    local ids = {}
    for _, file in ipairs(files) do
      for _, line in ipairs(lines(file)) do
        assert.is_nil(line:match("^refused.*"))
        ids[#ids + 1] = line
      end
    end
    assert.equal(count, #ids)

    local records = trail.all_ended(client, ids, FULL and 300 or 60, true)
    local runs = side:runs()
    for _, id in ipairs(ids) do
      assert.equal("completed", records[id].state)
      assert.is_true(#(runs[id] or {}) >= 1, "job " .. id .. " never ran")
    end
    assert.same({}, trail.letters(client))
    -- 2.9.10 may keep messages whose acks it remembers: they are cleared, or would be in the way of
    -- later hops of their jobs. A consumer that waits for ever is made anew after half a minute.
    eventually(function()
      local left = trail.messages(client, "naq_jobs")
      return left == 0, left .. " left\n" .. at:logs()
    end, FULL and 120 or 60, "the queue to be empty")
    for _, worker in ipairs(workers) do
      assert.equal("running", (worker:wait(0)), worker:log())
    end
  end)

  it("is not held up by a message that a consumer waits for and the stream has lost", function()
    -- An older message keeps the server from noticing that by itself.
    local other = client:queue(support.fresh_name())
    assert(other:enqueue("mark", side:args()))
    local worker = start_worker()
    local lost = assert(queue:enqueue("hold", side:args()))
    side:reaches(1)
    worker:kill()
    worker:wait()
    local api = require("naq.jetstream_api")
    local consumer = queue.name .. "_normal"
    local function restart()
      server:restart()
      eventually(function() return client.conn:rtt(1) end, 20, "the server to be there")
    end
    local function waits_for()
      return assert(api.call(client.conn, "CONSUMER.INFO", "naq_jobs." .. consumer)).num_ack_pending
    end

    -- What the consumer remembers is put back to what it was before the message was deleted.
    server:halt()
    local path = ("%s/jetstream/$G/streams/naq_jobs/obs/%s/o.dat"):format(server.store, consumer)
    local file = assert(io.open(path, "rb"))
    local state = file:read("*a")
    file:close()
    restart()
    local _, info = client.conn:last_msg("naq_jobs", ("naq.q.%s.normal.%s"):format(queue.name, lost.id))
    assert(api.call(client.conn, "STREAM.MSG.DELETE", "naq_jobs", { seq = info.seq }))
    assert(other:enqueue("mark", side:args()))
    server:halt()
    file = assert(io.open(path, "wb"))
    file:write(state)
    file:close()
    restart()
    assert.equal(1, waits_for())

    start_worker()
    local after = assert(queue:enqueue("mark", side:args()))
    assert.equal("completed", after:wait(20))
    eventually(function() return waits_for() == 0, waits_for() end, 20, "the consumer to give it up")
  end)

  it("loses no retry that waits, and fires none early", function()
    local count, delay = 40, 3
    local options = { retry_delay = delay, retry_strategy = "fixed", retry_jitter = 0 }
    local worker = start_worker()
    local ids = at:enqueue(count, function() return { "fail_first", side:args(), options } end)
    eventually(function() return trail.messages(client, "naq_delayed") == count end, 10, "retries to wait")
    server:kill()
    server:restart()

    local records = trail.all_ended(client, ids, 30, true)
    local runs = side:runs()
    for _, id in ipairs(ids) do
      assert.equal("completed", records[id].state)
      assert.equal(2, records[id].result)
      local first, second = runs[id][1], runs[id][2]
      assert.equal(2, second.attempt)
      -- Due times are kept in whole milliseconds.
      local early = first.at + delay - second.at
      assert.is_true(early <= 0.002, ("%.3f s early"):format(early))
    end
    assert.equal("running", (worker:wait(0)))
    assert.same({}, trail.letters(client))
  end)
end)
