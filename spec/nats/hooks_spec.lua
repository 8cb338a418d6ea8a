-- naq.before, naq.after and naq.around in job files; the trace that a job belongs to.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

describe("hooks in job files", function()
  local server, client, queue, worker, dir
  setup(function()
    server = nats.start()
    client = server:client()
    queue = client:queue(support.fresh_name())
    dir = assert(core.mkdtemp("naq-spec-hooks"))
    worker = support.start_worker({
      url = server.url, queues = { queue.name }, threads = 2,
      jobs = { support.root .. "/spec/nats/hook_jobs.lua", support.root .. "/spec/nats/jobs.lua" },
    })
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
    core.rmtree(dir)
  end)

  local function run(name, args, opts)
    local job = assert(queue:enqueue(name, args, opts))
    job:wait(10)
    return assert(job:info()), job
  end

  -- What the after hooks of a job have written.
  local function notes(path, count)
    return eventually(function()
      local f = io.open(path, "rb")
      local lines = {}
      for line in (f and f:read("*a") or ""):gmatch("%S+ ([^\n]*)\n") do
        lines[#lines + 1] = line
      end
      if f then f:close() end
      return #lines >= count and lines
    end, 5, count .. " notes")
  end

  local function file() return dir .. "/" .. support.fresh_name() end

  it("run in order: before, around outermost first, the job, after in reverse", function()
    local path = file()
    assert.equal("answer", run("answer", { notes = path }).result)
    local lines = notes(path, 2)
    assert.equal("after 2 true answer nil", lines[1])
    assert.equal("after 1 true answer nil | before 1, before 2, around 1 in, around 2 in, job, "
      .. "around 2 out, around 1 out, after 2, after 1", lines[2])
    assert.same({ "before 1", "before 2", "around 1 in", "around 2 in" }, run("notes").result)
  end)

  it("run with the jobs of all files of the worker, also sandboxed ones", function()
    assert.equal("before 1", run("sandboxed").result)
    assert.equal("failed", run("echo", { fail = "before 1" }, { max_retries = 0 }).state)
  end)

  it("leave the result alone, or return another one", function()
    assert.is_nil(run("nothing").result)
    assert.equal("completed", run("nothing").state)
    assert.equal("replaced", run("answer", { replace = true }).result)
  end)

  it("leave no globals behind", function()
    for _ = 1, 4 do
      assert.equal(1, run("leaked").result)
    end
  end)

  it("fail the attempt when they fail, with their own place", function()
    for _, name in ipairs({ "before 1", "before 2", "around 1", "after 2" }) do
      local path = file()
      local info = run("answer", { notes = path, fail = name }, { max_retries = 0 })
      assert.equal("failed", info.state)
      assert.same({ name .. " fails", "HOOK" }, { info.error.message, info.error.code })
      assert.matches("hook_jobs.lua:%d+: in .*fails", info.error.traceback)
      -- After hooks run whatever failed before them.
      local lines = notes(path, 2)
      assert.matches(name == "after 2" and "^after 1 true" or "^after 1 false " .. name .. " fails HOOK", lines[2])
    end
  end)

  it("are retried with the job", function()
    local info = run("answer", { notes = file(), fail = "before 2" }, { max_retries = 2, retry_delay = 0 })
    assert.equal(3, info.attempt)
    assert.equal(3, #info.attempts)
  end)

  it("see how the job failed, and change nothing about that", function()
    for name, expected in pairs({
      breaks = { "broken", "BROKEN" }, breaks_text = { "hook_jobs.lua:%d+: plain", "JOB_ERROR" },
      returns_error = { "why", "WHY" }, discards = { "no use", "DISCARDED" },
    }) do
      local path = file()
      local info = run(name, { notes = path })
      assert.equal("failed", info.state)
      assert.matches(expected[1], info.error.message)
      assert.equal(expected[2], info.error.code)
      assert.matches(("^after 2 false .*%s %s$"):format(expected[1], expected[2]), notes(path, 2)[1])
    end
    assert.matches("in .*'deep'", run("breaks", { notes = file() }).error.traceback)
    assert.equal("discarded", run("discards", { notes = file() }).reason or "discarded")
  end)

  it("see that a job snoozed", function()
    local path = file()
    local info = run("snoozes", { notes = path })
    assert.equal("awake", info.result)
    assert.equal(1, info.attempt)
    assert.equal("after 2 false snoozed for 0.05 s SNOOZED", notes(path, 4)[1])
  end)

  it("have to run the job, once, and to say something of an error that they catch", function()
    local function failure(args) return run("answer", args, { max_retries = 0 }).error.message end
    assert.matches("returned nothing and did not call next", failure({ skip = true }), 1, true)
    assert.matches("called next() twice", failure({ twice = true }), 1, true)
    local info = run("breaks", { swallow = true })
    assert.matches("caught the job's error and returned nothing", info.error.message, 1, true)
  end)

  it("run within the job's limits", function()
    local info = run("boxed_timeout", { forever = true })
    assert.equal("JOB_TIMEOUT", info.error.code)
    assert.equal("answer", run("answer", { notes = file() }).result)
  end)

  it("are for job files while they are loaded", function()
    local info = run("late")
    assert.matches("hook_jobs.lua:%d+: naq.before%(%) is for job files", info.error.message)
    assert.has_error(function() naq.before("print") end, "naq.before() takes a function, not a string")
  end)

  describe("and the trace of a job", function()
    local TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    it("reaches it, and what it enqueues", function()
      local result = run("parent", nil, { trace = TRACE }).result
      assert.equal(TRACE, result.own)
      local child = assert(client:job(result.child))
      child:wait(10)
      assert.equal(TRACE, child:result())
    end)

    it("is another's for what says so, and none where there is none", function()
      local other = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"
      local child = assert(client:job(run("parent", { trace = other }, { trace = TRACE }).result.child))
      child:wait(10)
      assert.equal(other, child:result())
      local result = run("parent").result
      assert.equal(naq.null, result.own)
      child = assert(client:job(result.child))
      child:wait(10)
      assert.equal(naq.null, child:result())
    end)

    it("is what a hook or the job makes of it", function()
      local child = assert(client:job(run("spans", nil, { trace = TRACE }).result))
      child:wait(10)
      assert.equal("00-0af7651916cd43dd8448eb211c80319c-00000000000000ff-01", child:result())
    end)

    it("stays through retries", function()
      assert.equal(TRACE, run("fail_with_trace", nil, { trace = TRACE }).result)
    end)

    it("is refused at enqueue and left out in a worker when it is none", function()
      for _, bad in ipairs({
        "", "00", TRACE:upper(), TRACE .. "-x", TRACE:sub(1, -2), (TRACE:gsub("^00", "ff")),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", (TRACE:gsub("%-", "_")),
      }) do
        assert.has_error(function() queue:enqueue("child", nil, { trace = bad }) end)
        local id = core.new_id()
        local payload = assert(core.encode({ job = "child", trace = bad }))
        assert(client.conn:js_publish(("naq.q.%s.normal.%s"):format(queue.name, id), payload))
        local job = assert(client:job(id))
        assert.equal("completed", job:wait(10))
        assert.equal(naq.null, job:result())
      end
      assert(queue:enqueue("child", nil, { trace = "01" .. TRACE:sub(3) .. "-more" }))
    end)
  end)
end)
