-- job:reschedule(): jobs that wait for a time, moved to another.

local core = require("naq.core")
local moment = require("naq.moment")
local support = require("spec.support")

describe("job:reschedule()", function()
  local server, client, queue, worker
  setup(function()
    server = support.nats.start()
    client = server:client()
    queue = client:queue(support.fresh_name())
    worker = support.start_worker({
      url = server.url, queues = { queue.name }, jobs = { support.root .. "/spec/nats/jobs.lua" },
    })
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
  end)

  local function in_store(job)
    local seen = {}
    local each = require("naq.jetstream_api").each_subject
    assert(each(client.conn, "naq_delayed", "naq.d.*." .. job.id, function(subject) seen[#seen + 1] = subject end))
    return #seen
  end

  it("moves a job earlier, later, and to now", function()
    local job = assert(queue:enqueue_at("2099-01-01", "echo", { 1 }, { priority = "high" }))
    assert(job:reschedule("2098-06-01T12:00:00+02:00"))
    local info = assert(job:info())
    assert.equal("scheduled", info.state)
    assert.equal(moment.seconds("2098-06-01T10:00:00Z"), info.run_at)
    assert.equal("high", info.priority)
    assert.equal(1, in_store(job))
    assert(job:reschedule(core.now() - 5))
    assert.equal("completed", job:wait(20))
    assert.same({ 1 }, job:result())
    assert.equal(0, in_store(job))
  end)

  it("moves one within its ten minutes, again and again", function()
    local base = (math.floor(core.now() / 600) + 5) * 600
    local job = assert(queue:enqueue_at(base + 10, "echo", 5))
    for i = 1, 5 do
      assert(job:reschedule(base + 100 * i))
      assert.equal(base + 100 * i, job:info().run_at)
      assert.equal(1, in_store(job))
    end
    assert(job:reschedule(core.now() + 0.3))
    assert.equal("completed", job:wait(20))
    assert.equal(1, job:info().attempt)
  end)

  it("moves a retry that waits", function()
    local job = assert(queue:enqueue("fail_until", { attempt = 2 }, { retry_delay = 3600 }))
    support.eventually(function() return job:status() == "retry" end, 20, "its first failure")
    assert(job:reschedule(core.now() + 0.1))
    assert.equal("completed", job:wait(20))
    assert.equal(2, job:result())
  end)

  it("refuses what does not wait for a time, and times that are none", function()
    local job = assert(queue:enqueue("echo", 1))
    assert.equal("completed", job:wait(20))
    local done, message, code = job:reschedule(core.now() + 60)
    assert.is_nil(done)
    assert.equal("WRONG_STATE", code)
    assert.matches("it is completed", message)
    assert.equal("JOB_NOT_FOUND", select(3, client:job("nothing"):reschedule(5)))
    local ok, problem = pcall(function() job:reschedule("soon") end)
    assert.is_false(ok)
    assert.matches("reschedule_spec.lua:%d+: the time must be epoch seconds", problem)
  end)

  it("lets two who move it at once both find one job", function()
    local other = server:client()
    local job = assert(queue:enqueue_at("2099-01-01", "echo", 1))
    assert(job:reschedule("2098-01-01"))
    assert(other:job(job.id):reschedule("2097-01-01"))
    assert.equal(1, in_store(job))
    assert.equal(moment.seconds("2097-01-01"), job:info().run_at)
    other:close()
  end)
end)
