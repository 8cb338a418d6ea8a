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
    options.url, options.jobs = server.url, { JOBS }
    options.queues = options.queues or { queue.name }
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

  it("the only worker of its queue takes no more jobs", function()
    local worker = start()
    core.kill(worker.pid, "TSTP")
    eventually(function() return client:workers()[1].state == "stopping" end, 10)
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local found, told = reason(job, "NO_WORKER")
    assert.equal(1, #told.reasons)
    assert.matches("takes no more", found.message, 1, true)
    assert.matches(client:workers()[1].id, found.message, 1, true)
    core.kill(worker.pid, "CONT")
    assert.equal("completed", job:wait(10))
    finish(worker)
  end)

  it("the worker's threads run jobs of another queue", function()
    local other = client:queue(support.fresh_name())
    local worker = start({ threads = 1, queues = { queue.name, other.name } })
    local first = eventually_running(assert(other:enqueue("loop", { kind = "sleep" })))
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local found, told = reason(job, "BUSY")
    assert.same({ "BUSY" }, { told.reasons[1].code })
    assert.equal(1, found.running)
    assert.equal(1, found.threads)
    assert(first:cancel())
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

  it("a worker that was killed has the slots of its queue", function()
    assert(queue:configure({ concurrency = 1 }))
    local worker = start({ threads = 2 })
    eventually_running(assert(queue:enqueue("loop", { kind = "sleep" })))
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    worker:kill()
    worker:wait()
    local second = start()
    local found, told = reason(job, "CONCURRENCY")
    assert(found, told)
    assert.same({ 1, 0 }, { found.limit, found.running })
    assert.matches(found.worker, worker:log(), 1, true)
    assert.equal("completed", job:wait(20)) -- as soon as they are free
    finish(second)
  end)

  it("a file limits its queue, as the one who asks is told by that file too", function()
    local file = os.tmpname()
    local f = assert(io.open(file, "wb"))
    f:write(("queues:\n  configs:\n    %s: {concurrency: 1}\n"):format(queue.name))
    f:close()
    local worker = start({ threads = 2, args = { "--config", file } })
    local first = eventually_running(assert(queue:enqueue("loop", { kind = "sleep" })))
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local _, out = naq("job", "explain", job.id, "--json", "-u", server.url, "--config", file)
    os.remove(file)
    assert.equal("CONCURRENCY", core.decode(out).reasons[1].code)
    assert(first:cancel())
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
    told = select(2, assert(reason(job, "RETRY")))
    assert(reason(job, "NO_WORKER"))
    -- The worker's scheduler was the only one.
    assert(reason(job, "NO_SCHEDULER"))
    assert.equal("RETRY", told.reasons[1].code)
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
    assert(reason(client:job(id), "NO_SCHEDULER"))
    -- One that is due: nobody puts it on its queue.
    local late = assert(queue:enqueue_in(0.05, "brief", { seconds = 0 }))
    eventually(function() return late:explain().reasons[1].code == "NO_SCHEDULER" end, 5)
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

  -- A claim names its worker, and stays what it is when that dies.
  it("its worker is gone while it ran what another had begun", function()
    local env = { NAQ_DEFAULT_ACK_WAIT = "2", NAQ_WORKER_HEARTBEAT_INTERVAL = "30" }
    local first = start({ env = env })
    local job = eventually_running(assert(queue:enqueue("loop", { kind = "sleep" })))
    first:kill()
    first:wait()
    local second = start({ env = env })
    eventually_running(job)
    local runs = assert(reason(job, "RUNNING"))
    assert.matches(runs.worker, second:log(), 1, true)
    assert.equal(1, runs.attempt)
    second:kill()
    second:wait()
    local told = assert(job:explain())
    assert.equal("pending", told.state)
    assert.equal("NO_WORKER", told.reasons[1].code)
    assert.equal("WORKER_GONE", told.reasons[2].code)
    assert(job:cancel())
  end)

  it("the only worker of its queue has just died", function()
    local worker = start()
    worker:kill()
    worker:wait()
    local job = assert(queue:enqueue("brief", { seconds = 0 }))
    local found, told = reason(job, "NO_WORKER")
    assert.equal("NO_WORKER", told.reasons[1].code)
    assert.matches("no worker that answers serves queue", found.message, 1, true)
    local name = found.message:match("(%S+) does not$")
    assert.matches(name, worker:log(), 1, true)
  end)

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
