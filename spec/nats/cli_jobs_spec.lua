-- enqueue, worker, job show and job result: a job's way through the command line.

local core = require("naq.core")
local support = require("spec.support")
local naq, eventually = support.naq, support.eventually

local JOBS = [[
local naq = require("naq")
naq.job("echo", function(args) return args end)
naq.job("nothing", function() end)
naq.job("no", function() return false end)
naq.job("fail", { max_retries = 0 }, function() error({ message = "no luck", code = "LUCK" }) end)
naq.job("flaky", { max_retries = 1, retry_delay = 0 }, function(_, job)
  if job.attempt == 1 then error("first time") end
  return "second time"
end)
naq.job("slow", function() require("naq.core").sleep(30) end)
]]

describe("the naq command with a worker", function()
  local server, dir, jobs, worker, queue

  setup(function()
    server = support.nats.start()
    dir = assert(core.mkdtemp("naq-spec-jobs"))
    jobs = dir .. "/jobs.lua"
    local file = assert(io.open(jobs, "w"))
    file:write(JOBS)
    file:close()
    queue = support.fresh_name()
    worker = support.start_worker({ url = server.url, queues = { queue }, jobs = { jobs }, threads = 2 })
  end)

  teardown(function()
    worker:stop()
    server:stop()
    core.rmtree(dir)
  end)

  local function run(...) return naq("-u", server.url, ...) end

  local function enqueue(...)
    local status, out, errors = run("enqueue", "-q", queue, ...)
    assert.equal(0, status, errors)
    return out:match("^(%S+)\n$")
  end

  describe("enqueue", function()
    it("prints the id, which result --wait follows to the value", function()
      local id = enqueue("echo", "--args", '{"a":1}')
      assert.is_true(core.valid_id(id))
      local status, out, errors = run("job", "result", id, "--wait", "10")
      assert.equal(0, status, errors)
      assert.equal('{"a":1}\n', out)
    end)

    it("prints {id} with --json", function()
      local status, out = run("enqueue", "echo", "-q", queue, "--json")
      assert.equal(0, status)
      local line = assert(core.decode(out))
      assert.is_true(core.valid_id(line.id))
    end)

    it("--wait prints the value exactly as it was put in", function()
      local values = {
        '{"n":9007199254740993}', "1.0", "1", "0.1", '"text\\n"', "[]", "{}", "[1,[],{}]", "false", "null",
      }
      for _, value in ipairs(values) do
        for _, json in ipairs({ "--json", "-linfo" }) do
          local status, out, errors =
            run("enqueue", "echo", "-q", queue, "--args", value, "--wait", "10", json)
          assert.equal(0, status, errors)
          assert.equal(value .. "\n", out)
        end
      end
      local _, out = run("enqueue", "nothing", "-q", queue, "--wait", "10")
      assert.equal("null\n", out)
      out = select(2, run("enqueue", "no", "-q", queue, "--wait", "10"))
      assert.equal("false\n", out)
    end)

    it("--wait on a job that fails is an error, exit code 1", function()
      local status, out, errors = run("enqueue", "fail", "-q", queue, "--wait", "10")
      assert.equal(1, status)
      assert.equal("", out)
      assert.truthy(errors:find("no luck", 1, true), errors)
      status, out, errors = run("enqueue", "fail", "-q", queue, "--wait", "10", "--json")
      assert.equal(1, status)
      assert.equal("", out)
      assert.equal("JOB_FAILED", assert(core.decode(errors)).error.code)
    end)

    it("--wait gives up after its time, exit code 1", function()
      local unserved = support.fresh_name()
      local status, out, errors = run("enqueue", "echo", "-q", unserved, "--wait", "0.2", "--json")
      assert.equal(1, status)
      assert.equal("", out)
      assert.equal("TIMEOUT", assert(core.decode(errors)).error.code)
    end)

    it("takes the options of --opts, and refuses the misspelt", function()
      local id = support.fresh_name()
      assert.equal(id, enqueue("echo", "--opts", ('{"id":"%s","priority":"high"}'):format(id)))
      local status, _, errors = run("enqueue", "echo", "-q", queue, "--opts", '{"priorty":"high"}')
      assert.equal(2, status)
      assert.truthy(errors:find("priorty", 1, true), errors)
      assert.truthy(errors:find("priority", 1, true), errors)
      status, _, errors = run("enqueue", "echo", "-q", queue, "--json", "--opts", ('{"id":"%s"}'):format(id))
      assert.equal(1, status)
      assert.equal("DUPLICATE", assert(core.decode(errors)).error.code)
    end)

    it("ends with exit code 130 when interrupted while it waits", function()
      local unserved = support.fresh_name()
      local waiting = support.process.start({
        "enqueue", "echo", "-u", server.url, "-q", unserved, "--wait", "60",
      })
      local client = server:client()
      eventually(function()
        return client:queue(unserved):stats().pending == 1
      end, 10, "the job to be on its queue")
      client:close()
      waiting:interrupt()
      local state, code = waiting:wait(5)
      assert.equal(130, state == "signaled" and 128 + code or code)
      waiting:stop()
    end)
  end)

  describe("job show", function()
    it("has the documented shape for a job that is done", function()
      local id = enqueue("echo", "--args", "[1]", "--opts", '{"max_retries":2}')
      run("job", "result", id, "--wait", "10")
      local status, out, errors = run("job", "show", id, "--json")
      assert.equal(0, status, errors)
      assert.equal(1, select(2, out:gsub("\n", "")))
      local shown = assert(core.decode(out))
      local expected = {
        id = id, job = "echo", queue = queue, priority = "normal", state = "completed", attempt = 1,
        max_retries = 2,
      }
      for name, value in pairs(expected) do
        assert.equal(value, shown[name], name)
      end
      assert.same({ 1 }, { shown.result[1] })
      assert.is_true(shown.enqueued_at <= shown.started_at and shown.started_at <= shown.finished_at)
      assert.is_string(shown.worker)
      assert.is_nil(shown.error)
    end)

    it("lists the failed attempts of a job with their tracebacks", function()
      local id = enqueue("flaky")
      local status, out, errors = run("job", "result", id, "--wait", "20")
      assert.equal(0, status, errors)
      assert.equal('"second time"\n', out)

      id = enqueue("fail")
      run("job", "result", id, "--wait", "10")
      out = select(2, run("job", "show", id, "--json"))
      local shown = assert(core.decode(out))
      assert.equal("failed", shown.state)
      assert.equal("LUCK", shown.error.code)
      assert.equal("no luck", shown.error.message)
      assert.equal(1, #shown.attempts)
      assert.equal("LUCK", shown.attempts[1].code)
      status, out = run("job", "show", id)
      assert.equal(0, status)
      assert.truthy(out:find("state +failed"), out)
      assert.truthy(out:find("LUCK: no luck", 1, true), out)
      assert.truthy(out:find("Failed attempts", 1, true), out)
    end)

    it("knows a job that nobody has taken", function()
      local elsewhere = support.fresh_name()
      local _, id = run("enqueue", "echo", "-q", elsewhere, "--args", '"x"')
      local status, out, errors = run("job", "show", id:match("%S+"), "--json")
      assert.equal(0, status, errors)
      local shown = assert(core.decode(out))
      assert.equal("pending", shown.state)
      assert.equal("x", shown.args)
      assert.equal(elsewhere, shown.queue)
      status, out, errors = run("job", "result", id:match("%S+"), "--json")
      assert.equal(1, status)
      assert.equal("", out)
      assert.equal("NOT_FINISHED", assert(core.decode(errors)).error.code)
    end)

    it("says that a job is not known, exit code 1", function()
      for _, command in ipairs({ "show", "result" }) do
        local status, out, errors = run("job", command, "nobody", "--json")
        assert.equal(1, status)
        assert.equal("", out)
        assert.equal("JOB_NOT_FOUND", assert(core.decode(errors)).error.code)
      end
    end)
  end)

  describe("worker", function()
    local function burst(...)
      local name = support.fresh_name()
      for i = 1, 5 do
        run("enqueue", i == 5 and "fail" or "echo", "-q", name)
      end
      local status, out, errors = run("worker", name, "--jobs", jobs, "-c", "2", ...)
      assert.equal(0, status, errors)
      return name, out
    end

    it("--burst exits when nothing is left, and says what it did", function()
      local name, out = burst("--burst", "--json")
      local summary = assert(core.decode(out))
      assert.equal(5, summary.done)
      assert.equal(1, summary.failed)
      assert.equal("burst", summary.stopped)
      local _, stats = run("queue", "stats", name, "--json")
      assert.equal(0, core.decode(stats).pending)
    end)

    it("--max-jobs exits after so many", function()
      local name, out = burst("--max-jobs", "3", "--json")
      local summary = assert(core.decode(out))
      assert.equal(3, summary.done)
      assert.equal("max_jobs", summary.stopped)
      local _, stats = run("queue", "stats", name, "--json")
      assert.equal(2, core.decode(stats).pending)
    end)

    it("takes queues behind --jobs, and one-function files below -m", function()
      local name = support.fresh_name()
      os.execute(("mkdir -p '%s/modules/jobs'"):format(dir))
      local file = assert(io.open(dir .. "/modules/jobs/twice.lua", "w"))
      file:write("return function(args) return 2 * args end\n")
      file:close()
      local _, id = run("enqueue", "jobs.twice", "-q", name, "--args", "21")
      local status, _, errors = run("worker", "-m", dir .. "/modules", "--burst", "--jobs", jobs, name)
      assert.equal(0, status, errors)
      local _, value = run("job", "result", id:match("%S+"))
      assert.equal("42\n", value)
    end)

    it("drains on SIGTERM and exits with 0", function()
      local name = support.fresh_name()
      local process = support.start_worker({ url = server.url, queues = { name }, jobs = { jobs } })
      eventually(function()
        local _, out = run("workers", "--json")
        return out:find(name, 1, true)
      end, 10, "the worker to be listed")
      process:term()
      process:ends(0, 10)
      process:stop()
    end)

    it("says which job file cannot be loaded", function()
      local bad = dir .. "/bad.lua"
      local file = assert(io.open(bad, "w"))
      file:write("this is not Lua")
      file:close()
      for _, path in ipairs({ bad, dir .. "/none.lua" }) do
        local status, _, errors = run("worker", "--jobs", path, "--burst", "--json")
        assert.equal(1, status)
        local line = errors:match("({[^\n]*})\n$")
        assert.truthy(assert(core.decode(line or errors)).error.message:find(path, 1, true), errors)
      end
    end)
  end)
end)
