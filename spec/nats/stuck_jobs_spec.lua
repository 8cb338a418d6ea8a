-- What becomes of jobs that nothing can stop: each kind, their threads, and the worker.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local JOBS = support.root .. "/spec/nats/limit_jobs.lua"
local TIMEOUT, GRACE = 0.1, 2
-- A shell does not start under ThreadSanitizer's runtime.
local SHELLS = not (support.preload or ""):find("tsan", 1, true)

describe("a job that cannot be stopped", function()
  local server, client, queue, worker, dir, gate
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
  end)
  teardown(function()
    client:close()
    server:stop()
  end)
  before_each(function()
    queue = client:queue(support.fresh_name())
    dir = assert(core.mkdtemp("naq-spec-stuck"))
    gate = dir .. "/gate"
    local pid = assert(core.spawn({ "mkfifo", gate }, { env = { LD_PRELOAD = false } }))
    assert.same({ "exited", 0 }, { core.wait(pid, 5) })
  end)
  after_each(function()
    support.process.stop_all()
    core.rmtree(dir)
  end)

  local function start(threads, env, of)
    worker = support.start_worker({
      url = server.url, queues = { (of or queue).name }, jobs = { JOBS }, threads = threads, env = env,
    })
    return worker
  end
  local function hang(how, options, on)
    options.max_retries = options.max_retries or 0
    return assert((on or queue):enqueue("hang", { how = how, gate = gate }, options))
  end
  -- Whoever waits to read from the pipe goes on.
  local function open_gate() assert(io.open(gate, "wb")):close() end
  local function ended(job)
    local state, message = job:wait(30)
    assert(state, message)
    return core.decode((assert(client.conn:find_record("naq", job.id))))
  end
  local function logged(text) return worker:log():find(text, 1, true) end

  -- Side by side, each on a worker of its own.
  local KINDS = {
    { "pattern", "sort", SHELLS and "shell" or "gate" },
    { SHELLS and "read" or "gate", "finalizer", "finalizer_at_the_end" },
  }
  for _, kinds in ipairs(KINDS) do
    it("is given up after a grace time, and its thread replaced: " .. table.concat(kinds, ", "), function()
      local all = {}
      for i, how in ipairs(kinds) do
        local own = client:queue(support.fresh_name())
        all[i] = { how = how, worker = start(1, nil, own) }
        all[i].job = hang(how, { timeout = TIMEOUT }, own)
        all[i].after = assert(own:enqueue("quick", how))
      end
      for _, one in ipairs(all) do
        local how, record = one.how, ended(one.job)
        assert.same({ how, "JOB_STUCK", "stuck" }, { how, record.error.code, record.reason })
        assert.equal(
          "it could not be stopped within 2 s after its timeout: a call into C, or a finalizer, that does not end",
          record.error.message
        )
        local took = record.finished_at - record.started_at
        assert.is_true(took >= TIMEOUT + GRACE and took < TIMEOUT + GRACE + 3, how .. " took " .. took)
        assert.equal("stuck", trail.letters(client, one.job.id)[one.job.id].reason)
        -- The only thread is a new one.
        assert.equal(how, ended(one.after).result)
        one.worker:term()
        one.worker:ends(0, 10)
      end
    end)
  end

  it("is not given up for the time in which its worker stood still", function()
    start(1)
    local job = hang("gate", { timeout = TIMEOUT })
    eventually(function() return job:status() == "running" end, 10, "it to run")
    core.sleep(TIMEOUT + 0.3) -- its time is over
    worker:freeze()
    core.sleep(GRACE + 0.5)
    worker:thaw()
    open_gate()
    local record = ended(job)
    assert.same({ "JOB_TIMEOUT", "timeout" }, { record.error.code, record.reason })
  end)

  it("is a failed attempt under the retry rules, and its first run's end changes nothing", function()
    start(1)
    local job = assert(queue:enqueue("hang_once", { gate = gate }, { timeout = 0.1 }))
    local record = ended(job)
    assert.same({ "completed", 2 }, { record.state, record.result })
    open_gate()
    eventually(function() return logged("a thread that was left in a job came back and ends") end, 10)
    assert.equal(record.finished_at, ended(job).finished_at)
    assert.is_truthy(logged("failed in attempt 1: it could not be stopped"))
    assert.equal(0, trail.messages(client, "naq_delayed"))
    worker:term()
    worker:ends(0, 10)
  end)

  it("that comes back counts no more: a worker may meet many of them", function()
    start(4)
    for round = 1, 2 do
      local jobs = {}
      for i = 1, 3 do jobs[i] = hang("gate", { timeout = 0.1 }) end
      for _, job in ipairs(jobs) do assert.equal("stuck", ended(job).reason) end
      open_gate()
      eventually(function()
        local _, n = worker:log():gsub("came back and ends", "")
        return n == 3 * round, n
      end, 10)
    end
    assert.equal(1, ended(assert(queue:enqueue("quick", 1))).result)
  end)

  it("ends the worker when four threads hang, which says so", function()
    start(4)
    local jobs = {}
    for i = 1, 4 do jobs[i] = hang("gate", { timeout = 0.1 }) end
    for _, job in ipairs(jobs) do assert.equal("stuck", ended(job).reason) end
    worker:ends(1, 10)
    assert.is_truthy(logged("draining: 4 threads hang in jobs that cannot be stopped"))
    assert.is_truthy(logged("4 of its threads hang in jobs that cannot be stopped; it was drained"))
    local left = queue:enqueue("quick", 2)
    assert.equal("pending", left:status())
  end)

  it("holds a drain up no longer than shutdown_timeout", function()
    start(1, { NAQ_WORKERS_SHUTDOWN_TIMEOUT = "1", NAQ_DEFAULT_ACK_WAIT = "30" })
    local job = hang("gate", { max_retries = 3 })
    eventually(function() return job:status() == "running" end, 10)
    worker:term()
    local before = core.mono()
    worker:ends(1, 10)
    assert.is_true(core.mono() - before < 5)
    eventually(function() return job:status() == "pending" end, 10)
  end)

  it("as little as a finalizer that it left behind holds up a worker's end", function()
    start(2)
    assert(queue:enqueue("leave_finalizer")):wait(10)
    worker:term()
    worker:ends(0, 10)
    assert.is_truthy(logged("a Lua state does not close: a finalizer"))
  end)

  it("is settled by a worker that drains meanwhile", function()
    start(2, { NAQ_WORKERS_SHUTDOWN_TIMEOUT = "20" })
    local job = hang("gate", { timeout = 0.5 })
    eventually(function() return job:status() == "running" end, 10)
    worker:term()
    worker:ends(0, 15)
    assert.equal("stuck", ended(job).reason)
  end)
end)
