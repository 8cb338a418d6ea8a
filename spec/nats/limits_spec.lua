-- How an attempt is stopped that takes too long or too much: each way, in each place it may be.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local impostor = require("spec.support.impostor")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local JOBS = support.root .. "/spec/nats/limit_jobs.lua"
local FULL = os.getenv("NAQ_TEST_SCALE") == "full"
local SLOW = support.build:find("san", 1, true) ~= nil -- a sanitizer's build

describe("limits of an attempt", function()
  local server, client, worker, queue
  local function start(options)
    options.url = server.url
    options.queues = options.queues or { queue.name }
    options.jobs = options.jobs or { JOBS }
    return support.start_worker(options)
  end
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    worker = start({ threads = 2 })
    eventually(function() return worker:log():find("ready", 1, true) end, 10)
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
  end)

  -- The job's end: its record.
  local function ended(job)
    local state, message = job:wait(30)
    assert(state, message)
    return core.decode((assert(client.conn:find_record("naq", job.id))))
  end
  local function run(name, args, options, on)
    options = options or {}
    options.max_retries = options.max_retries or 0
    return ended(assert((on or queue):enqueue(name, args, options)))
  end
  local function codes(record)
    local list = {}
    for i, attempt in ipairs(record.attempts) do list[i] = attempt.code end
    return list
  end

  describe("timeout", function()
    it("ends every kind of loop", function()
      local names = run("loops").result
      assert.is_true(#names >= 15)
      local jobs, most = {}, SLOW and 2 or 0.6
      local function loop(how)
        return assert(queue:enqueue("loop", { how = how }, { timeout = 0.1, max_retries = 0 }))
      end
      local function seconds_of(how, job)
        local record = ended(job)
        assert.same({ how, "timeout", "JOB_TIMEOUT" }, { how, record.reason, record.error.code })
        assert.equal("it ran longer than its timeout of 0.1 s", record.error.message)
        local took = record.finished_at - record.started_at
        assert.is_true(took >= 0.1, how .. " took " .. took)
        return took
      end
      for _, how in ipairs(names) do
        jobs[how] = loop(how)
      end
      for how, job in pairs(jobs) do
        local took = seconds_of(how, job)
        -- The machine may be busy with something else once.
        for _ = 1, 2 do
          if took >= most then took = seconds_of(how, loop(how)) end
        end
        assert.is_true(took < most, how .. " took " .. took)
      end
      assert.is_nil(worker:log():find("cannot be stopped", 1, true))
    end)

    it("ends what waits in a call of naq's own", function()
      local names = run("waits").result
      assert.is_true(#names >= 7)
      local jobs, mute = {}, impostor.start({})
      for _, how in ipairs(names) do
        local args = { how = how, url = server.url, mute = mute.url }
        jobs[how] = assert(queue:enqueue("wait", args, { timeout = 0.3 }))
      end
      for how, job in pairs(jobs) do
        local record = ended(job)
        assert.same({ how, "JOB_TIMEOUT" }, { how, record.error.code })
        assert.matches("^stack traceback:\n\t", record.error.traceback)
        local took = record.finished_at - record.started_at
        assert.is_true(took >= 0.3 and took < 2.3, how .. " took " .. took)
      end
      mute.stop()
      assert.is_nil(worker:log():find("cannot be stopped", 1, true))
    end)

    it("says where the job was", function()
      local record = run("loop", { how = "coroutine" }, { timeout = 0.05 })
      assert.matches("^stack traceback:\n\t.*limit_jobs.lua:%d+: in ", record.error.traceback)
    end)

    it("is a failed attempt under the retry rules, and at the end a dead letter", function()
      local job = assert(queue:enqueue("limited"))
      local record = ended(job)
      assert.same({ "JOB_TIMEOUT", "JOB_TIMEOUT" }, codes(record))
      assert.equal("timeout", record.reason)
      assert.equal("timeout", trail.letters(client, job.id)[job.id].reason)
    end)

    it("is the payload's before the job's; 0 is none", function()
      local record = run("limited", nil, { timeout = 0.6 })
      assert.equal("it ran longer than its timeout of 0.6 s", record.error.message)
      assert.equal("slept", run("unlimited", { seconds = 0.2 }).result)
      assert.equal("JOB_TIMEOUT", run("unlimited", { seconds = 30 }, { timeout = 0.1 }).error.code)
    end)

    it("ignores what is no limit in anybody's payload, and says so", function()
      local id = core.new_id()
      local payload = '{"job":"quick","args":1,"timeout":"long","memory_limit":true,"cpu_limit":-1}'
      assert(client.conn:js_publish(("naq.q.%s.normal.%s"):format(queue.name, id), payload))
      assert.equal("completed", client:job(id):wait(10))
      eventually(function() return worker:log():find("job " .. id .. ": its payload is not followed", 1, true) end)
    end)

    it("leaves errors of the job's own alone", function()
      local record = run("own_error", nil, { timeout = 30, memory_limit = "64MB", max_instructions = 1e6 })
      local result = record.result
      assert.same({ false, 7, false, "own!", false }, { result[1], result[2], result[3], result[4], result[5] })
      assert.matches("limit_jobs.lua:%d+: in a coroutine$", result[6])
    end)

    it("costs the state in which it struck, and no other job its own", function()
      local alone = client:queue(support.fresh_name())
      local one = start({ queues = { alone.name }, threads = 1 })
      assert.equal(1, run("count_calls", nil, nil, alone).result)
      assert.equal(2, run("count_calls", nil, nil, alone).result)
      assert.equal("JOB_TIMEOUT", run("loop", { how = "pcall" }, { timeout = 0.05 }, alone).error.code)
      assert.equal(1, run("count_calls", nil, nil, alone).result)
      one:stop()
    end)

    it("has a default for all jobs of a worker", function()
      local target = client:queue(support.fresh_name())
      local strict = start({
        queues = { target.name },
        env = { NAQ_WORKERS_TIMEOUT = "0.15", NAQ_WORKERS_MEMORY_LIMIT = "8MB" },
      })
      local record = run("loop", { how = "call" }, nil, target)
      assert.equal("it ran longer than its timeout of 0.15 s", record.error.message)
      assert.equal("JOB_MEMORY", run("fill", { bytes = 2 ^ 24 }, { timeout = 30 }, target).error.code)
      assert.equal("slept", run("unlimited", { seconds = 0.3 }, nil, target).result)
      strict:stop()
    end)
  end)

  it("are the queue's where the job says nothing", function()
    local target = client:queue(support.fresh_name())
    local dir = assert(core.mkdtemp("naq-spec-limits"))
    local f = assert(io.open(dir .. "/naq.yaml", "wb"))
    f:write(("queues:\n  configs:\n    %s: { timeout: 0.15 }\n"):format(target.name))
    f:close()
    local configured = start({ queues = { target.name }, args = { "--config", dir .. "/naq.yaml" } })
    assert.equal("it ran longer than its timeout of 0.15 s", run("loop", { how = "call" }, nil, target).error.message)
    assert.equal("it ran longer than its timeout of 0.2 s", run("limited", nil, nil, target).error.message)
    configured:stop()
    core.rmtree(dir)
  end)

  it("keeps debug.sethook() from jobs", function()
    assert.matches("debug.sethook%(%) is not for jobs", run("sethook").error.message)
  end)

  describe("memory_limit", function()
    local MB = 2 ^ 20
    it("refuses what goes over it, at once", function()
      local record = run("fill", { bytes = 1000 * MB }, { memory_limit = "16MB" })
      assert.same({ "JOB_MEMORY", "memory" }, { record.error.code, record.reason })
      assert.equal("it wanted more memory than its limit of 16 MB", record.error.message)
      assert.matches("limit_jobs.lua:%d+: in ", record.error.traceback)
    end)

    it("counts above what the state itself holds, and not what was collected", function()
      for _ = 1, 5 do
        assert.equal("completed", run("fill", { bytes = 3 * MB }, { memory_limit = "4MB" }).state)
      end
      assert.equal("completed", run("garbage", { times = 300, bytes = MB }, { memory_limit = "4MB" }).state)
      assert.equal("JOB_MEMORY", run("fill", { bytes = 5 * MB }, { memory_limit = 4 * MB }).error.code)
    end)

    it("is not got around by a job that catches the error", function()
      assert.equal("JOB_MEMORY", run("fill_and_catch", { bytes = 64 * MB }, { memory_limit = "8MB" }).error.code)
      local record = run("big_string", { bytes = 1e9 }, { memory_limit = "8MB" })
      assert.equal("JOB_MEMORY", record.error.code)
      assert.is_true(record.finished_at - record.started_at < 1)
    end)

    it("holds for arguments as well", function()
      local args = {}
      for i = 1, 2e4 do args[i] = { i } end
      assert.equal("JOB_MEMORY", run("quick", args, { memory_limit = "200KB" }).error.code)
      assert.equal("completed", run("quick", args, { memory_limit = "16MB" }).state)
    end)
  end)

  describe("cpu_limit", function()
    it("counts what the thread computes, not what it waits for", function()
      assert.equal("slept", run("unlimited", { seconds = 0.6 }, { cpu_limit = 0.2 }).result)
      local record = run("loop", { how = "pcall" }, { cpu_limit = 0.2 })
      assert.same({ "JOB_CPU", "cpu" }, { record.error.code, record.reason })
      assert.equal("it used more CPU time than its limit of 0.2 s", record.error.message)
      assert.is_true(record.finished_at - record.started_at >= 0.2)
    end)
  end)

  describe("max_instructions", function()
    it("counts them, in coroutines, too", function()
      assert.equal(50005000, run("count", { to = 10000 }, { max_instructions = 1e5 }).result)
      local record = run("count", { to = 1e9 }, { max_instructions = 1e6 })
      assert.same({ "JOB_INSTRUCTIONS", "instructions" }, { record.error.code, record.reason })
      assert.equal("it ran more instructions than its limit of 1000000", record.error.message)
      record = run("count_in_coroutines", { times = 1e6, to = 3000 }, { max_instructions = 1e6 })
      assert.equal("JOB_INSTRUCTIONS", record.error.code)
      assert.equal("JOB_INSTRUCTIONS", run("count", { to = 1000 }, { max_instructions = 100 }).error.code)
    end)

    it("ends with the job that has it", function()
      for _ = 1, 4 do
        assert.equal("completed", run("count_in_coroutines", { times = 3, to = 100 }, { max_instructions = 1e5 }).state)
        assert.equal("completed", run("count_in_coroutines", { times = 300, to = 1000 }).state)
      end
    end)
  end)

  it("interrupts thousands of jobs at any moment, each with one end", function()
    -- ThreadSanitizer keeps more than a megabyte for each state that is thrown away: 20 GB of the long form.
    local count = FULL and not support.build:find("tsan", 1, true) and 20000 or 2000
    local target, entries = client:queue(support.fresh_name()), {}
    math.randomseed(os.time())
    for i = 1, count do
      local options = { timeout = math.random() * 0.02, max_retries = 0 }
      if i % 3 == 0 then options.memory_limit = "256KB" end
      if i % 5 == 0 then options.max_instructions = math.random(1e5) end
      entries[i] = { "mixed", { turns = math.random(500) }, options }
    end
    local jobs = assert(target:enqueue_many(entries))
    local many = start({ queues = { target.name }, threads = 3, args = { "--burst" }, level = "error" })
    many:ends(0, FULL and 900 or 200)
    local ends = {}
    for _, job in ipairs(jobs) do
      local record = ended(job)
      local code = record.error and record.error.code or record.result
      ends[code] = (ends[code] or 0) + 1
    end
    local known = (ends.through or 0) + (ends.JOB_TIMEOUT or 0) + (ends.JOB_INSTRUCTIONS or 0) + (ends.JOB_MEMORY or 0)
    assert.equal(count, known)
    assert.is_true(ends.JOB_TIMEOUT > 0 and ends.JOB_INSTRUCTIONS > 0)
    assert.equal("", many:log())
    many:stop()
  end)

  it("makes a new state of the job files that were loaded, whatever is on disk by now", function()
    local dir = assert(core.mkdtemp("naq-spec-limits"))
    local path = dir .. "/jobs.lua"
    local function write(text)
      local f = assert(io.open(path, "wb"))
      f:write(text)
      f:close()
    end
    local good = 'local naq = require("naq")\n'
      .. 'naq.job("spin", { timeout = 0.05 }, function() while true do local _ = {} end end)\n'
      .. 'naq.job("fine", function() return 1 end)\n'
    write(good)
    local target = client:queue(support.fresh_name())
    local fragile = start({ queues = { target.name }, jobs = { path }, threads = 1 })
    assert.equal(1, run("fine", nil, nil, target).result)
    write(good .. "error('half written')\n")
    local spun = run("spin", nil, nil, target)
    assert.equal("timeout", spun.reason)
    assert.equal(1, run("fine", nil, nil, target).result)
    write("")
    assert.equal("timeout", run("spin", nil, nil, target).reason)
    assert.equal(1, run("fine", nil, nil, target).result)
    fragile:stop()
    core.rmtree(dir)
  end)

  it("knows how to say an amount", function()
    for text, bytes in pairs({
      ["64MB"] = 67108864, ["1.5 KB"] = 1536, ["1GiB"] = 2 ^ 30, ["2k"] = 2048, ["100"] = 100, ["7 b"] = 7,
    }) do
      assert.equal(bytes, core.bytes(text))
    end
    for _, text in ipairs({ "", "MB", "1 XB", "-1MB", "1MBB", "1 M B", "9e99GB", "0x10" }) do
      assert.is_nil(core.bytes(text))
    end
    assert.has_error(function() queue:enqueue("quick", nil, { memory_limit = "much" }) end)
    assert.is_truthy(naq.errors.JOB_MEMORY)
  end)
end)
