-- Jobs about as large as the server takes: retried, buried, and never in the way for ever.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

local JOBS = support.root .. "/spec/nats/jobs.lua"

describe("a job near the server's limit", function()
  local server, client, queue, worker
  setup(function()
    server = nats.start({ config = { "max_payload: 65536" } })
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    worker = support.start_worker({ url = server.url, queues = { queue.name }, jobs = { JOBS }, threads = 1 })
  end)
  teardown(function()
    support.process.stop_all()
    client:close()
    server:stop()
  end)

  local function fail(size, options)
    local job = assert(queue:enqueue("fail_long", { fill = ("y"):rep(size) }, options))
    assert.equal("failed", job:wait(30), worker:log())
    return job, assert(client:failed():show(job.id))
  end

  it("is retried and buried with its history cut, and says so", function()
    local job, letter = fail(48000, { max_retries = 8 })
    assert.equal(9, #letter.attempts + letter.attempts_cut)
    assert.is_true(letter.attempts_cut > 0)
    assert.equal(48000, #core.decode(letter.args).fill)
    assert.matches("bytes cut%)$", letter.error.message)
    assert.equal(9, job:info().attempt)
    assert.equal(9, #job:info().attempts + (job:info().attempts_cut or 0))
    assert.is_true(client:failed():retry(job.id))
    assert.equal("failed", job:wait(30))
  end)

  it("is buried whole if a client of naq enqueued it", function()
    local most = client.conn:max_job()
    local size = most - 200
    while #core.payload("fail_long", { fill = ("y"):rep(size) }, { max_retries = 0 }) < most do
      size = size + 1
    end
    local _, letter = fail(size, { max_retries = 0 })
    assert.equal(size, #core.decode(letter.args).fill)
    assert.matches("x %.%.%.cut$", letter.error.message)
    assert.equal(1, #letter.attempts)
    local args = { fill = ("y"):rep(size + 1) }
    local job, message, code = queue:enqueue("fail_long", args, { max_retries = 0 })
    assert.is_nil(job)
    assert.equal("TOO_LARGE", code)
    assert.matches("payload: %d+ bytes, and a job may have " .. most, message)
    local jobs, errors = queue:enqueue_many({ { "fail_long", args, { max_retries = 0 } }, { "echo" } })
    assert.is_false(jobs[1])
    assert.equal("TOO_LARGE", errors[1].code)
    assert.equal("completed", jobs[2]:wait(10))
  end)

  it("is buried without what it was given where that leaves no room", function()
    local job = assert(client:job("full-" .. queue.name))
    local payload = core.payload("fail_long", { fill = ("y"):rep(64800) }, { max_retries = 2 })
    assert(client.conn:js_publish(("naq.q.%s.normal.%s"):format(queue.name, job.id), payload, job.id .. ":0"))
    assert.equal("failed", job:wait(30), worker:log())
    local letter = assert(client:failed():show(job.id))
    assert.is_nil(letter.payload)
    assert.equal(1, #letter.attempts)
    local done, message, code = client:failed():retry(job.id)
    assert.is_nil(done)
    assert.equal("UNDECODABLE", code)
    assert.matches("too large to be kept", message, 1, true)
    eventually(function() return assert(queue:stats()).running == 0 end, 10, "the queue to move on")
  end)
end)
