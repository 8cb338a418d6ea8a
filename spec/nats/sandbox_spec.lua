-- What a job can reach in the sandbox, and that no job changes what others see.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")

local HERE = support.root .. "/spec/nats"

describe("a job's world", function()
  local server, client, queue, worker
  setup(function()
    server = support.nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    worker = support.start_worker({
      url = server.url,
      queues = { queue.name },
      jobs = { HERE .. "/sandbox_jobs.lua", HERE .. "/patch_jobs.lua" },
      dirs = { HERE .. "/sandbox_modules" },
      threads = 1,
    })
    support.eventually(function() return worker:log():find("ready", 1, true) end, 10)
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
  end)

  local function run(name, args, options)
    options = options or {}
    options.max_retries = options.max_retries or 0
    local job = assert(queue:enqueue(name, args, options))
    local state, message = job:wait(20)
    assert(state, message)
    return core.decode((assert(client.conn:find_record("naq", job.id))))
  end
  local function value(name, code, options)
    local record = run(name, { code = code }, options)
    assert.is_nil(record.error and record.error.message)
    return record.result
  end

  describe("sandbox", function()
    it("has Lua itself", function()
      assert.equal(3, value("inside", "math.max(1, 3)"))
      assert.equal("a-b", value("inside", 'table.concat({ "a", "b" }, "-")'))
      assert.equal("X", value("inside", '("x"):upper()'))
      assert.equal(2, value("inside", 'select("#", coroutine.resume(coroutine.create(error)))'))
      assert.equal("number", value("inside", "type(os.time())"))
      assert.equal("an upvalue", run("upvalue").result)
      assert.same({ "with_job", 1, 0, "function", true }, run("with_job").result)
    end)

    it("has no files, processes, C modules, bytecode, debug library", function()
      local nothing = {
        "io", "debug", "package", "dofile", "loadfile", "os.execute", "os.getenv", "os.remove", "os.rename",
        "os.tmpname", "os.exit", "string.dump", "warn",
      }
      for _, name in ipairs(nothing) do
        assert.equal(naq.null, value("inside", name), name)
      end
      for code, problem in pairs({
        ['require("cjson")'] = "module 'cjson': the sandbox has those of the job directories only",
        ['require("naq.core")'] = "module 'naq.core'",
        ['require("../limit_jobs")'] = "the sandbox has",
        ['require("/etc/passwd")'] = "the sandbox has",
        ['require("naq").connect()'] = "naq.connect%(%) is not for the sandbox",
        ['setmetatable({}, { __gc = print })'] = "a finalizer",
        ['collectgarbage("stop")'] = "collectgarbage%('count'%) only",
        ['rawset(string, "format", 1)'] = "cannot be changed",
        ['string.char(27) .. 1 + load(("").dump(function() end))'] = "attempt",
      }) do
        assert.matches(problem, run("inside", { code = code }).error.message, code)
      end
      -- Neither text nor a function leads out of it.
      assert.equal(naq.null, value("inside", 'load("return io")()'))
      assert.equal(naq.null, value("inside", '(getmetatable(""))'))
      assert.equal(naq.null, value("inside", "getmetatable(args or {})"))
      assert.equal(false, value("inside", 'pcall(load(("").dump(function() return 1 end), "x", "b") or error)'))
    end)

    it("can be asked for in a payload, and not lifted", function()
      assert.equal(naq.null, value("outside", "io", { sandbox = true }))
      assert.equal(false, value("outside", "io == nil"))
      assert.equal(naq.null, value("inside", "io", { sandbox = false }))
      assert.matches("attempt to index a nil value %(global 'io'%)",
        run("io_in_function", nil, { sandbox = true }).error.message)
      assert.equal("open", run("io_in_function").result)
    end)

    it("can be a queue's setting", function()
      local target, dir = client:queue(support.fresh_name()), assert(core.mkdtemp("naq-spec-sandbox"))
      local f = assert(io.open(dir .. "/naq.yaml", "wb"))
      f:write(("queues:\n  configs:\n    %s: { sandbox: true }\n"):format(target.name))
      f:close()
      local strict = support.start_worker({
        url = server.url,
        queues = { target.name },
        jobs = { HERE .. "/sandbox_jobs.lua" },
        args = { "--config", dir .. "/naq.yaml" },
      })
      local job = assert(target:enqueue("outside", { code = "io" }))
      assert.equal("completed", job:wait(20))
      assert.equal(naq.null, job:result())
      strict:stop()
      core.rmtree(dir)
    end)

    it("can be set while a worker serves: what cannot be had inside fails, and does not run outside", function()
      local target, dir = client:queue(support.fresh_name()), assert(core.mkdtemp("naq-spec-sandbox"))
      local f = assert(io.open(dir .. "/jobs.lua", "wb"))
      f:write('local f = io.open("x")\nrequire("naq").job("x", { max_retries = 0 }, function() return "ran" end)\n')
      f:close()
      local serving =
        support.start_worker({ url = server.url, queues = { target.name }, jobs = { dir .. "/jobs.lua" } })
      local function outcome() return assert(target:enqueue("x")):wait(20) end
      assert.equal("completed", outcome())
      assert(target:configure({ sandbox = true }))
      support.eventually(function()
        local state = outcome()
        return state == "failed", tostring(state) .. serving:log()
      end, 5, "the setting to be followed")
      local job = assert(target:enqueue("x"))
      assert.equal("failed", job:wait(20))
      assert.matches("job 'x' cannot be loaded in the sandbox: .*jobs.lua:1: .*global 'io'", select(2, job:result()))
      serving:stop()
      core.rmtree(dir)
    end)

    it("does not start a worker with a job that cannot be loaded inside, and says where", function()
      local dir = assert(core.mkdtemp("naq-spec-sandbox"))
      local f = assert(io.open(dir .. "/jobs.lua", "wb"))
      f:write('local f = io.open("x")\nrequire("naq").job("x", { sandbox = true }, function() end)\n')
      f:close()
      local status, _, errors =
        support.naq("worker", "-u", server.url, support.fresh_name(), "--jobs", dir .. "/jobs.lua", "--burst")
      assert.equal(1, status)
      assert.matches("job 'x' cannot be loaded in the sandbox: .*jobs.lua:1: .*global 'io'", errors)
      core.rmtree(dir)
    end)

    it("requires modules of the job directories, inside", function()
      assert.equal("nil nil", run("module", { name = "deep.greeter" }).result)
    end)

    it("forgets globals, and is stopped like any job", function()
      assert.same({ before = naq.null, shared = 0 }, run("global", 1).result)
      assert.same({ before = naq.null, shared = 0 }, run("global", 2).result)
      assert.equal("JOB_TIMEOUT", run("spin").error.code)
    end)
  end)

  describe("the standard library", function()
    local function sees()
      assert.same({ "x", "7", "8", "nil", true, "x!", true }, run("see").result)
    end

    it("is changed by no running job", function()
      sees()
      for how, problem in pairs({
        remove = "string.format: the standard library cannot be changed by a running job",
        replace = "table.insert: the standard library cannot be changed by a running job",
        add = "string.trim: the standard library",
        rawset = "string.format: the standard library",
        metatable = "protected metatable",
        strings = 'getmetatable%(""%).__index: the standard library',
        strings_library = "string.format: the standard library",
        globals = "protected metatable",
        required = "string.format: the standard library",
        loaded = "string.format: the standard library",
        loaded_listed = "package.loaded.string: the standard library",
        loaded_name = "package.loaded.string: the standard library",
        loaded_raw = "package.loaded.string: the standard library",
        loaded_globals = "_G.trim: the standard library",
        searchers = "package.searchers.1: the standard library",
        path = "package.path: the standard library",
        files = "file.write: the standard library",
        class = "attempt to index a boolean value",
      }) do
        local record = run("patch", { how = how })
        assert.matches(problem, record.error.message, how)
        assert.matches("patch_jobs.lua:%d+: ", record.error.message)
        sees()
      end
    end)

    it("is seen whole by the next job, whatever a job hid from itself", function()
      assert.equal("completed", run("patch", { how = "hidden" }).state)
      sees()
      assert.equal("completed", run("patch", { how = "collector" }).state)
      sees()
    end)
  end)
end)
