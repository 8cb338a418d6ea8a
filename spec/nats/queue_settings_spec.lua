-- Settings of queues: what a program and the command line can do about them, and what becomes of them.

local core = require("naq.core")
local jetstream_api = require("naq.jetstream_api")
local support = require("spec.support")
local require_naq = require("naq")
local eventually, naq, null = support.eventually, support.naq, require_naq.null

describe("the settings of a queue", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function run(...) return naq("-u", server.url, ...) end

  it("are none at first, kept by name, and unset by naq.null", function()
    assert.same({}, assert(queue:settings()))
    assert.same({ concurrency = 8 }, assert(queue:configure({ concurrency = 8 })))
    local all = assert(queue:configure({ rate_limit = "100/s", paused = false }))
    assert.same({ concurrency = 8, rate_limit = "100/s", paused = false }, all)
    all = assert(queue:configure({ concurrency = null, paused = null, ack_wait = null }))
    assert.same({ rate_limit = "100/s" }, all)
    assert.same(all, assert(queue:settings()))
    assert.same({}, assert(client:queue("another"):settings()))
  end)

  it("are refused at the caller's line when they cannot be", function()
    for _, wrong in ipairs({
      { { concurency = 1 }, "did you mean 'concurrency'" },
      { { concurrency = 0 }, "option 'concurrency' must be at least 1" },
      { { concurrency = "many" }, "option 'concurrency' must be a whole number" },
      { { rate_limit = "5/x" }, "option 'rate_limit' must be a number a second" },
      { { rate_limit = 0 }, "option 'rate_limit'" },
      { { ack_wait = -1 }, "option 'ack_wait' must be at least" },
      { { paused = "yes" }, "option 'paused' must be true or false" },
    }) do
      local ok, message = pcall(function() queue:configure(wrong[1]) end)
      assert.is_false(ok)
      assert.truthy(message:find(wrong[2], 1, true), message)
      assert.truthy(message:find("queue_settings_spec", 1, true), message)
    end
    assert.has_error(function() queue:configure("fast") end)
    assert.same({}, assert(queue:settings()))
  end)

  it("lose nobody's change when many configure at the same time, and keep what newer versions set", function()
    assert(client.conn:kv_put("naq_control", queue.name, '{"from_the_future":{"a":[1]}}'))
    local script = [[
      local name, value = arg[3], tonumber(arg[4])
      local queue = assert(require("naq").connect({ servers = { arg[1] } })):queue(arg[2])
      for i = 1, 50 do
        assert(queue:configure({ [name] = value + i }))
        assert(queue:configure({ paused = i % 2 == 0 }))
      end
    ]]
    local file = side.dir .. "/configure.lua"
    local f = assert(io.open(file, "wb"))
    f:write(script)
    f:close()
    local env =
      { LUA_PATH = support.lua_path, LUA_CPATH = support.lua_cpath, LD_PRELOAD = support.preload }
    local pids = {}
    for i, name in ipairs({ "concurrency", "rate_limit", "max_retries" }) do
      local argv = { "lua5.4", file, server.url, queue.name, name, ("%d"):format(100 * i) }
      pids[i] = assert(core.spawn(argv, { env = env }))
    end
    for _, pid in ipairs(pids) do
      assert.same({ "exited", 0 }, { core.wait(pid, 60) })
    end
    local all = assert(queue:settings())
    assert.same({ a = { 1 } }, all.from_the_future)
    all.from_the_future = nil
    assert.same({ concurrency = 150, rate_limit = 250, max_retries = 350, paused = true }, all)
  end)

  it("are read and changed on the command line", function()
    local status, out, errors = run("queue", "set", queue.name, "concurrency=8", "rate_limit=100/s", "ack_wait=60")
    assert.equal(0, status, errors)
    assert.equal(queue.name .. ": ack_wait=60 concurrency=8 rate_limit=100/s\n", out)
    status, out = run("queue", "set", queue.name, "concurrency=", "ack_wait=none", "--json")
    assert.equal(0, status)
    assert.same({ queue = queue.name, rate_limit = "100/s" }, core.decode(out))
    status, out = run("queue", "set", queue.name)
    assert.equal(0, status)
    assert.equal(queue.name .. ": rate_limit=100/s\n", out)
    for _, wrong in ipairs({ "concurency=1", "concurrency=x", "concurrency", "rate_limit=1/d" }) do
      status, _, errors = run("queue", "set", queue.name, wrong)
      assert.equal(2, status, wrong)
      assert.truthy(errors:find("naq: ", 1, true))
    end
    status, out = run("queue", "pause", queue.name, "--json")
    assert.equal(0, status)
    assert.same({ queue = queue.name, paused = true }, core.decode(out))
    assert.is_true(assert(queue:stats()).paused)
    status, out = run("queue", "resume", queue.name)
    assert.equal(0, status)
    assert.equal(queue.name .. ": resumed\n", out)
    assert.is_false(assert(queue:stats()).paused)
  end)

  local function ack_wait_of_consumers()
    local found = {}
    for i, priority in ipairs({ "high", "normal", "low" }) do
      local name = ("naq_jobs.%s_%s"):format(queue.name, priority)
      found[i] = assert(jetstream_api.call(client.conn, "CONSUMER.INFO", name)).config.ack_wait / 1e9
    end
    return found
  end

  it("change the ack_wait of consumers that exist, under running jobs", function()
    local worker = at:worker()
    eventually(function() return worker:log():find("ready", 1, true) end, 10)
    assert.same({ 30, 30, 30 }, ack_wait_of_consumers())
    assert(queue:enqueue("hold", side:args()))
    side:reaches(1)
    assert(queue:configure({ ack_wait = 1 }))
    assert.same({ 1, 1, 1 }, ack_wait_of_consumers())
    -- Three times the new lease: the worker renews at the new pace, so the job stays its own.
    local until_then = core.mono() + 3
    eventually(function() return core.mono() > until_then end, 5)
    side:open()
    eventually(function()
      local stats = assert(queue:stats())
      return stats.pending + stats.running == 0
    end, 10)
    local _, runs = side:runs()
    assert.equal(1, runs)
    assert.falsy(worker:log():find("refused", 1, true))
    assert(queue:configure({ ack_wait = 45 }))
    assert.same({ 45, 45, 45 }, ack_wait_of_consumers())
  end)

  it("are followed by a worker that starts later, for its consumers too", function()
    assert(queue:configure({ ack_wait = 12 }))
    local worker = at:worker()
    eventually(function() return worker:log():find("ready", 1, true) end, 10)
    assert.same({ 12, 12, 12 }, ack_wait_of_consumers())
  end)

  it("are not followed where they make no sense, and a worker says so", function()
    assert(client.conn:kv_put("naq_control", queue.name, '{"concurrency":"many","paused":true}'))
    local worker = at:worker()
    eventually(function() return worker:log():find("concurrency: \"many\" is nothing", 1, true) end, 10)
    eventually(function() return worker:log():find("paused", 1, true) end, 10)
    assert(client.conn:kv_put("naq_control", queue.name, "no json"))
    eventually(function() return worker:log():find("invalid JSON", 1, true) end, 10)
    assert.same({ nil, "SERIALIZATION" }, { queue:settings(), (select(3, queue:settings())) })
  end)

  it("come from a worker's file where nothing is set, which says once that it is not followed", function()
    local file = side.dir .. "/naq.yaml"
    local f = assert(io.open(file, "wb"))
    f:write(("queues:\n  configs:\n    %s: {concurrency: 2, rate_limit: 50/s}\n"):format(queue.name))
    f:close()
    assert(queue:configure({ concurrency = 3 }))
    local worker = at:worker({ args = { "--config", file } })
    eventually(function() return worker:log():find("concurrency is set in NATS", 1, true) end, 10)
    assert(queue:configure({ concurrency = 4 }))
    assert(queue:configure({ paused = true }))
    eventually(function() return worker:log():find("paused", 1, true) end, 2)
    local _, said = worker:log():gsub("is set in NATS,", "")
    assert.equal(1, said)
  end)
end)

describe("the policy of a queue's jobs", function()
  local at = support.scene()
  local queue, side
  before_each(function()
    local _
    _, queue, side = at:begin()
  end)
  after_each(function() at:finish() end)

  it("may be set in NATS; a running worker follows within a second, before its file", function()
    local file = side.dir .. "/naq.yaml"
    local f = assert(io.open(file, "wb"))
    f:write(("queues:\n  configs:\n    %s: {max_retries: 5, retry_delay: 60}\n"):format(queue.name))
    f:close()
    assert(queue:configure({ max_retries = 1, retry_delay = 0.01, retry_jitter = 0 }))
    at:worker({ args = { "--config", file } })
    local job = assert(queue:enqueue("fail_twice", side:args()))
    assert.equal("failed", job:wait(10))
    assert(queue:configure({ max_retries = 2, paused = false }))
    eventually(function()
      local again = assert(queue:enqueue("fail_twice", side:args()))
      return again:wait(10) == "completed"
    end, 1.5)
    assert(queue:configure({ max_retries = null }))
    local own = assert(queue:enqueue("fail_twice", side:args(), { max_retries = 0 }))
    assert.equal("failed", own:wait(10))
  end)
end)
