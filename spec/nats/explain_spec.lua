-- job:explain(), naq job explain: the reason why a job is not running, for each that there is.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually, naq = support.nats, support.eventually, support.naq

local JOBS = support.root .. "/spec/nats/cancel_jobs.lua"

describe("job:explain()", function()
  local server, client, queue
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
  end)
  teardown(function()
    client:close()
    server:stop()
  end)
  before_each(function() queue = client:queue(support.fresh_name()) end)
  after_each(function() support.process.stop_all() end)

  local function start(options)
    options = options or {}
    options.url, options.queues, options.jobs = server.url, { queue.name }, { JOBS }
    local worker = support.start_worker(options)
    eventually(function() return worker:log():find("ready", 1, true) end, 10)
    return worker
  end

  -- In order, so that no record of it is left.
  local function finish(worker)
    core.kill(worker.pid, "TERM")
    core.kill(worker.pid, "CONT")
    worker:wait(20)
  end

  local function reason(job, code)
    local told = assert(job:explain())
    assert.equal(job.id, told.id)
    assert.equal(job:status(), told.state)
    for _, one in ipairs(told.reasons) do
      assert.equal("string", type(one.message))
      if one.code == code then return one, told end
    end
    return nil, core.encode(told)
  end

  local function eventually_running(job)
    eventually(function() return job:status() == "running", job:status() end, 10)
    return job
  end

  it("nobody serves its queue", function()
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local found, told = reason(job, "NO_WORKER")
    assert.equal(queue.name, found.queue)
    assert.equal(1, #told.reasons)
    assert.equal("pending", told.state)
    -- The same by the id alone, and on the command line.
    assert.same(told, client:job(job.id):explain())
    local status, out = naq("job", "explain", job.id, "-u", server.url)
    assert.equal(0, status)
    assert.equal(("%s: pending\n  no worker serves queue %s (NO_WORKER)\n"):format(job.id, queue.name), out)
    status, out = naq("job", "explain", job.id, "--json", "-u", server.url)
    assert.equal(0, status)
    assert.same(told, core.decode(out))
  end)

  it("its queue is paused", function()
    local worker = start()
    assert(queue:pause())
    -- Until the worker has heard of it, it takes jobs.
    eventually(function() return worker:log():find("paused", 1, true) end, 5, "the worker to pause")
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local found, told = reason(job, "PAUSED")
    assert.equal(queue.name, found.queue)
    assert.equal("PAUSED", told.reasons[1].code)
    assert(queue:resume())
    assert.equal("completed", job:wait(10))
    finish(worker)
  end)

  it("others stand before it", function()
    local worker = start({ threads = 1 })
    local first = eventually_running(assert(queue:enqueue("loop", { kind = "sleep" })))
    for _ = 1, 5 do
      assert(queue:enqueue("brief", { seconds = 0 }))
    end
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local low = assert(queue:enqueue("brief", { seconds = 0 }, { priority = "low" }))
    local found
    -- A worker may have fetched some of them for a moment.
    eventually(function()
      found = reason(job, "BEHIND")
      return found and found.ahead == 5, found and found.ahead
    end, 5)
    assert.equal(1, found.running)
    assert.equal(1, found.threads)
    found = assert(reason(low, "BEHIND"))
    assert.is_true(found.ahead >= 6)
    assert(first:cancel())
    assert.equal("completed", low:wait(10))
    finish(worker)
  end)

  it("its queue runs as many as it may", function()
    assert(queue:configure({ concurrency = 1 }))
    local worker = start({ threads = 2 })
    local first = eventually_running(assert(queue:enqueue("loop", { kind = "sleep" })))
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local found = assert(reason(job, "CONCURRENCY"))
    assert.equal(1, found.limit)
    assert.equal(1, found.running)
    assert(first:cancel())
    assert.equal("completed", job:wait(10))
    finish(worker)
  end)

  it("it is being retried, and when", function()
    local worker = start()
    local job = assert(queue:enqueue("fail_once", {}))
    eventually(function() return job:status() == "retry" end, 10)
    local found, told = reason(job, "RETRY")
    assert.equal("JOB_ERROR", found.error.code)
    assert.matches("once", found.error.message)
    assert.equal(2, found.attempt)
    assert.is_true(math.abs(found.run_at - core.now() - 3600) < 400)
    assert.equal(1, #told.reasons)
    finish(worker)
    assert(reason(job, "RETRY"))
    assert(reason(job, "NO_WORKER"))
  end)

  it("no worker knows a job of that name", function()
    local worker = start()
    local job = assert(queue:enqueue("renamed", {}, { retry_delay = 60 }))
    eventually(function() return job:status() == "retry" end, 10)
    local found = assert(reason(job, "UNKNOWN_JOB"))
    assert.equal("renamed", found.job)
    assert.is_true(found.run_at > core.now())
    finish(worker)
  end)

  it("its time has not come", function()
    local id, due = core.new_id(), math.floor(core.now() * 1000) + 3600000
    local headers = { ["Naq-Due"] = ("%d"):format(due), ["Naq-To"] = queue.name .. ".normal" }
    local subject = ("naq.d.%d.%s"):format(math.floor(due / 600000), id)
    assert(client.conn:js_publish(subject, '{"job":"brief"}', id .. ":0", { headers = headers }))
    local found, told = reason(client:job(id), "SCHEDULED")
    assert.equal(due / 1000, found.run_at)
    assert.equal("scheduled", told.state)
  end)

  for _, how in ipairs({ "kill", "freeze" }) do
    it(("its worker is gone, and when its lease ends: %s"):format(how), function()
      local worker = start({ env = { NAQ_DEFAULT_ACK_WAIT = "4", NAQ_WORKER_HEARTBEAT_INTERVAL = "1" } })
      local job = eventually_running(assert(queue:enqueue("loop", { kind = "sleep" })))
      worker[how](worker)
      if how == "kill" then worker:wait() end
      local found
      eventually(function()
        local told
        found, told = reason(job, "WORKER_GONE")
        return found, told
      end, 10)
      assert.matches(found.worker, worker:log(), 1, true)
      local left = found.lease_ends_at - core.now()
      assert.is_true(left > -1 and left <= 4.01, left)
      assert(job:cancel())
      assert.equal("cancelled", job:status())
    end)
  end

  it("it runs, or has ended", function()
    local worker = start()
    local job = eventually_running(assert(queue:enqueue("loop", { kind = "sleep" })))
    local found = assert(reason(job, "RUNNING"))
    assert.matches(found.worker, worker:log(), 1, true)
    assert(job:cancel())
    assert(reason(job, "CANCELLED"))
    local done = assert(queue:enqueue("brief", { seconds = 0 }))
    done:wait(10)
    assert(reason(done, "COMPLETED"))
    local failed = assert(queue:enqueue("fail_once", {}, { max_retries = 0 }))
    failed:wait(10)
    assert.equal("failed", assert(reason(failed, "FAILED")).reason)
    assert.equal("JOB_NOT_FOUND", select(3, client:job("nobody"):explain()))
    local status, _, errors = naq("job", "explain", "nobody", "-u", server.url)
    assert.equal(1, status)
    assert.equal("naq: job nobody: not found\n", errors)
    finish(worker)
  end)
end)
