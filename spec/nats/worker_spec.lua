-- What a worker does with jobs: results, failures, retries, the order of things.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local unpack = table.unpack or unpack -- luacheck: ignore
local HERE = support.root .. "/spec/nats"
local MARKS = support.root .. "/spec/crash/jobs/marks.lua"

describe("a worker", function()
  local server, client, queue, side, worker
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    side = trail.new()
    worker = support.start_worker({
      url = server.url,
      queues = { queue.name },
      jobs = { HERE .. "/jobs.lua", MARKS },
      dirs = { HERE .. "/modules" },
      threads = 2,
    })
  end)
  teardown(function()
    support.process.stop_all()
    client:close()
    server:stop()
    side:remove()
  end)

  -- Run one job to its end: its handle and state.
  local function run(name, args, options)
    local job = assert(queue:enqueue(name, args, options))
    return job, assert(job:wait(10))
  end

  -- A job that must fail at once: its error, its whole info.
  local function failure(name, args, options)
    options = options or {}
    options.max_retries = options.max_retries or 0
    local job, state = run(name, args, options)
    assert.equal("failed", state)
    local info = assert(job:info())
    return info.error, info
  end

  local function temporary_file(text)
    local dir = assert(core.mkdtemp("naq-spec-jobs"))
    local path = dir .. "/jobs.lua"
    local f = assert(io.open(path, "wb"))
    f:write(text)
    f:close()
    return path, dir
  end

  describe("runs job files of both forms", function()
    it("named by naq.job()", function()
      local job = run("echo", { 1, "two", { three = 3 } })
      assert.same({ 1, "two", { three = 3 } }, job:result())
    end)

    it("named by their path below a -m directory", function()
      assert.equal("hello Ada", run("tasks.greet", { name = "Ada" }):result())
      assert.equal("tasks.deep.where", run("tasks.deep.where"):result())
    end)

    it("and finds no other module by its name", function()
      for _, name in ipairs({ "os", "naq", "naq.core", "tasks", "string" }) do
        assert.equal("UNKNOWN_JOB", failure(name).code)
      end
    end)
  end)

  describe("keeps what a job returns", function()
    it("nothing is a success, false and null are results", function()
      local job, state = run("nothing")
      assert.equal("completed", state)
      assert.equal(naq.null, job:result())
      assert.is_false(run("no"):result())
      assert.equal(naq.null, run("echo", naq.null):result())
    end)

    it("exactly", function()
      assert.equal(0.1, run("echo", 0.1):result())
      assert.equal("a\0b\n\"\\\226\130\172", run("echo", "a\0b\n\"\\\226\130\172"):result())
      if math.type then
        local least = -9007199254740993 * 1000
        assert.equal(least, run("echo", least):result())
        assert.equal("float", math.type(run("echo", 2.0):result()))
      end
      local text = core.encode(run("echo", { list = naq.array({}), map = {} }):result())
      assert.matches('"list":[]', text, 1, true)
      assert.matches('"map":{}', text, 1, true)
    end)

    it("or fails where it cannot be written", function()
      local err = failure("return_function")
      assert.equal("SERIALIZATION", err.code)
      assert.matches("result", err.message, 1, true)
    end)
  end)

  it("tells a job about itself", function()
    local before = core.now()
    local job = run("about", nil, { max_retries = 7 })
    local told = job:result()
    assert.equal(job.id, told.id)
    assert.equal("about", told.name)
    assert.equal(queue.name, told.queue)
    assert.equal(1, told.attempt)
    assert.equal(7, told.max_retries)
    assert.is_true(told.enqueued_at >= before - 0.01 and told.enqueued_at <= core.now() + 0.01)
    assert.equal(3, run("about"):result().max_retries)
  end)

  it("forgets a job's globals before the next one", function()
    for i = 1, 10 do
      local result = run("leave_a_global", i):result()
      assert.equal(naq.null, result.before)
      assert.equal("set while the file was loaded", result.loaded)
    end
  end)

  it("lets a job enqueue another", function()
    local job, state = run("enqueue_another", { n = 1 }, { max_retries = 0 })
    assert.equal("completed", state, worker:log())
    local other = assert(client:job(job:result()))
    assert.equal("completed", other:wait(10))
    assert.same({ n = 1 }, other:result())
  end)

  describe("tells how a job failed", function()
    it("by error() with a text", function()
      local err, info = failure("raise_text")
      assert.equal("JOB_ERROR", err.code)
      assert.matches("spec/nats/jobs.lua:%d+: in function", err.traceback)
      assert.matches("jobs.lua:%d+: plain text$", err.message)
      assert.matches("stack traceback:", err.traceback, 1, true)
      assert.equal("failed", info.state)
      assert.equal(1, #info.attempts)
    end)

    it("by error() with message and code", function()
      local err = failure("raise_table")
      assert.same({ "MY_CODE", "a table" }, { err.code, err.message })
    end)

    it("by error() with nothing, or with something odd", function()
      assert.equal("JOB_ERROR", failure("raise_nothing").code)
      assert.is_true(#failure("raise_nothing").message > 0)
      assert.equal("JOB_ERROR", failure("raise_odd").code)
    end)

    it("by returning nil and why", function()
      local err = failure("return_error")
      assert.same({ "CODE", "why" }, { err.code, err.message })
      err = failure("return_error_with_number") -- as error({ code = 7 })
      assert.same({ "7", "why" }, { err.code, err.message })
      err = failure("return_error_without_code")
      assert.same({ "JOB_ERROR", "just why" }, { err.code, err.message })
    end)

    it("by os.exit() or an endless recursion, which end the attempt alone", function()
      assert.matches("os.exit() would end the worker", failure("call_exit").message, 1, true)
      assert.matches("stack overflow", failure("overflow").message, 1, true)
      assert.equal("running", (worker:wait(0)))
    end)
  end)

  describe("tries a failed job again", function()
    it("with its attempts, each told", function()
      local job, state = run("fail_until", { attempt = 4 })
      assert.equal("completed", state)
      assert.equal(4, job:result())
      assert.equal(4, job:info().attempt)
    end)

    it("until its retries are used up; the dead letter has all of them", function()
      local job, state = run("fail_until", { attempt = 9 }, { max_retries = 2 })
      assert.equal("failed", state)
      local letter = trail.letters(client, job.id)[job.id]
      assert.equal("failed", letter.reason)
      assert.equal(3, #letter.attempts)
      for i, attempt in ipairs(letter.attempts) do
        assert.equal(i, attempt.attempt)
        assert.equal("NOT_YET", attempt.code)
        assert.equal("attempt " .. i, attempt.message)
        assert.is_true(attempt.finished_at >= attempt.started_at)
      end
      assert.equal(2, letter.payload.hop)
      assert.same({ attempt = 9 }, letter.payload.args)
      assert.equal(3, #job:info().attempts)
    end)

    it("but not where the job says what is not worth it, nor when it gives up itself", function()
      local err, info = failure("ignored", nil, { max_retries = 5 })
      assert.equal("GONE", err.code)
      assert.equal(1, info.attempt)
      err, info = failure("discard", nil, { max_retries = 5 })
      assert.equal("DISCARDED", err.code)
      assert.equal("too big", err.message)
      assert.equal(1, info.attempt)
      assert.equal("discarded", trail.letters(client, info.id)[info.id].reason)
    end)

    it("by rules of the call before the job's before the queue's before the defaults", function()
      local name = support.fresh_name()
      local target = client:queue(name)
      local config, dir = temporary_file(([[
queues:
  configs:
    %s:
      max_retries: 1
      retry_delay: 0
      ignore_on: [NOT_YET]
      result_ttl: 100
]]):format(name))
      local other = support.start_worker({
        url = server.url,
        queues = { name },
        jobs = { HERE .. "/jobs.lua" },
        env = { NAQ_CONFIG = config },
      })
      local function attempts(job_name, args, options)
        local job = assert(target:enqueue(job_name, args, options))
        assert.equal("failed", job:wait(10), other:log())
        local info = assert(job:info())
        return #info.attempts, info
      end
      assert.equal(2, (attempts("raise_text"))) -- the queue's
      assert.equal(3, (attempts("raise_text", nil, { max_retries = 2 }))) -- the call's
      assert.equal(2, (attempts("needs_file", { gate = "/nowhere" }))) -- the job's, the queue's the same
      assert.equal(1, (attempts("fail_until", { attempt = 9 }))) -- the job has 5, the queue ignores its code
      assert.equal(1, (attempts("raise_text", nil, { max_retries = 0, retry_delay = 10 })))
      local about = assert(target:enqueue("about"))
      assert.equal("completed", about:wait(10))
      assert.equal(1, about:result().max_retries)
      local _, bucket = select(2, client.conn:find_record("naq", about.id))
      assert.equal("naq_results_1h", bucket)
      other:stop()
      core.rmtree(dir)
    end)

    it("and says no to a snooze that is no time", function()
      for _, seconds in ipairs({ "a while", -1, "inf", "nan" }) do
        local err = failure("snooze_badly", { seconds = seconds })
        assert.matches("job:snooze() takes a number of seconds from 0", err.message, 1, true)
      end
      local far = assert(queue:enqueue("snooze_badly", { seconds = 1e300 }))
      eventually(function() return far:status() == "scheduled" end, 10, "the job to be put off")
      assert.is_true(far:info().run_at > core.now() + 99 * 365 * 86400)
    end)

    it("as often as it snoozes, at the cost of no attempt", function()
      local job, state = run("snooze", side:args({ times = 3 }), { max_retries = 0 })
      assert.equal("completed", state)
      assert.same({ runs = 4, attempt = 1 }, job:result())
    end)
  end)

  describe("with result_ttl 0", function()
    it("leaves no record of a success, but tells who waits", function()
      local job = assert(queue:enqueue("hold", side:args(), { result_ttl = 0 }))
      side:open()
      local state = job:wait(10)
      -- It may have ended before the wait began, and then nobody knows.
      if state then
        assert.equal("completed", state)
        assert.equal("held", job:result())
      end
      eventually(function() -- it is told before the job is acked
        local still, _, code = client:job(job.id):status()
        return code == "JOB_NOT_FOUND", still
      end, 10, "nothing of it to be left")
    end)

    it("leaves the record of a failure", function()
      assert.equal("plain text", failure("raise_text", nil, { result_ttl = 0 }).message:match("plain text"))
    end)
  end)

  -- Run a worker of its own to its end: status, standard output, standard error.
  local function finish(name, files, ...)
    local args = { "worker", name, "-u", server.url }
    for _, file in ipairs(files) do
      args[#args + 1] = "--jobs"
      args[#args + 1] = file
    end
    for _, more in ipairs({ ... }) do
      args[#args + 1] = more
    end
    return support.naq(unpack(args))
  end

  local function marks(target, count, options)
    local list = {}
    for i = 1, count do
      list[i] = { "mark", side:args({ n = i }), options }
    end
    return assert(target:enqueue_many(list))
  end

  describe("takes the high priority first", function()
    it("and does not starve the low one", function()
      local target = client:queue(support.fresh_name())
      local own = trail.new()
      local list = {}
      for _, priority in ipairs({ "low", "high" }) do
        for i = 1, 100 do
          list[#list + 1] = { "mark", own:args({ n = i }), { id = ("%s-%d"):format(priority, i), priority = priority } }
        end
      end
      assert(target:enqueue_many(list))
      assert.equal(0, (finish(target.name, { MARKS }, "-c", "1", "--burst")))
      local place, sum = 0, { high = 0, low = 0 }
      local first_low
      for line in io.lines(own.path) do
        place = place + 1
        local priority = line:match("^(%a+)%-")
        sum[priority] = sum[priority] + place
        if priority == "low" and not first_low then first_low = place end
      end
      own:remove()
      assert.equal(200, place)
      assert.is_true(sum.high < 0.75 * sum.low, ("%d and %d"):format(sum.high, sum.low))
      assert.is_true(first_low < 60, "the first low one ran as number " .. first_low)
    end)
  end)

  describe("ends by itself", function()
    it("after --max-jobs, leaving the others", function()
      local target = client:queue(support.fresh_name())
      marks(target, 25)
      assert.equal(0, (finish(target.name, { MARKS }, "--max-jobs", "10")))
      local stats = assert(target:stats())
      assert.same({ 15, 0 }, { stats.pending, stats.running })
      assert.equal(0, (finish(target.name, { MARKS }, "--burst")))
      assert.equal(0, assert(target:stats()).pending)
    end)

    it("with --burst when nothing is left, at once on an empty queue", function()
      local target = client:queue(support.fresh_name())
      local before = core.mono()
      assert.equal(0, (finish(target.name, { MARKS }, "--burst")))
      assert.is_true(core.mono() - before < 5)
      local jobs = marks(target, 300)
      local status, out = finish(target.name, { MARKS }, "--burst")
      assert.equal(0, status)
      assert.matches("^300 jobs done, 0 of them failed", out)
      assert.equal("completed", jobs[300]:status())
    end)
  end)

  it("sets ack_wait for consumers that it creates, and keeps those that are there", function()
    local target = support.fresh_name()
    local seven = support.start_worker({
      url = server.url,
      queues = { target },
      jobs = { MARKS },
      env = { NAQ_DEFAULT_ACK_WAIT = "7" },
    })
    local function ack_wait()
      local info = require("naq.jetstream_api").call(client.conn, "CONSUMER.INFO", "naq_jobs." .. target .. "_normal")
      return info and info.config.ack_wait
    end
    eventually(function() return ack_wait() == 7e9 end, 10, "the consumer")
    local nine = support.start_worker({
      url = server.url,
      queues = { target },
      jobs = { MARKS },
      env = { NAQ_DEFAULT_ACK_WAIT = "9" },
    })
    eventually(function() return nine:log():find("its ack_wait is 7 s and stays so, not 9 s", 1, true) end, 10)
    assert.equal(7e9, ack_wait())
    seven:stop()
    nine:stop()
  end)

  it("does not start with a broken job file, and names file and line", function()
    local cases = {
      ["local naq = require('naq')\nnaq.job('x', function( end)\n"] = "jobs%.lua:2:",
      ["local a\nerror('while loading')\n"] = "jobs%.lua:2: while loading",
      ["require('naq').job('x', { max_retris = 1 }, function() end)\n"] = "jobs%.lua:1: .*max_retris",
      ["return nil\n"] = "jobs%.lua: defines no job",
      ["require('no.such.module')\n"] = "no%.such%.module",
    }
    for text, pattern in pairs(cases) do
      local path, dir = temporary_file(text)
      local status, _, errors = finish(support.fresh_name(), { path }, "--burst")
      core.rmtree(dir)
      assert.equal(1, status)
      assert.matches(pattern, errors)
    end
  end)
end)
