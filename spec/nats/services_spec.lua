-- naq.services(): the services of one configuration, on a real server and without one.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local eventually, nats = support.eventually, support.nats

describe("naq.services()", function()
  local server, services

  setup(function() server = nats.start() end)
  teardown(function() server:stop() end)
  before_each(function() services = assert(naq.services({ config = false, servers = server.url })) end)
  after_each(function() services:close() end)

  --- What the pool has given out of this server.
  local function active()
    for _, pool in ipairs(naq.connection_stats().pools) do
      if pool.servers == server.url then return pool.handles end
    end
    return 0
  end

  it("connects when it is used, and not before", function()
    local before = active()
    assert.same({}, services:running())
    assert.equal(before, active())
    assert(services.connection:get())
    assert.same({ "connection" }, services:running())
    assert.equal(before + 1, active())
    assert.equal(services.connection:get(), services.connection:get())
    assert.equal(before + 1, active())
  end)

  it("has a connection and JetStream on it", function()
    local conn = assert(services.connection:get())
    assert(conn:flush())
    local js = assert(services.connection:jetstream())
    assert.equal(conn, js.conn or js.connection)
    assert.same({ "connection", "streams" }, services:running())
  end)

  it("lends a connection to a function, given back on an error, too", function()
    local before, kept = active(), nil
    assert.equal("done", services.connection:scope(function(conn)
      kept = conn
      assert(conn:flush())
      return "done"
    end))
    assert.error_matches(function() kept:flush() end, "this connection is closed")
    assert.error_matches(function()
      services.connection:jetstream_scope(function(js, conn)
        kept = conn
        assert(js:list_streams())
        error("oh no")
      end)
    end, "oh no")
    assert.is_true(kept.closed)
    assert.equal(before, active())
    assert.error_matches(function() services.connection:scope(3) end, "a function expected")
  end)

  it("tells whether the server is there", function()
    local health = services.connection:health_check()
    assert.is_true(health.ok)
    assert.equal(server.url, health.server)
  end)

  it("works with streams", function()
    local name = nats.fresh_name()
    assert(services.streams:ensure(name, { subjects = { name .. ".>" } }))
    assert(services.streams:publish(name .. ".a", "x"))
    assert.equal(1, assert(services.streams:info(name)).state.messages)
    local found = false
    for _, each in ipairs(assert(services.streams:list())) do
      found = found or each == name or (type(each) == "table" and each.config.name == name)
    end
    assert.is_true(found)
    assert(services.streams:purge(name))
    assert.equal(0, assert(services.streams:info(name)).state.messages)
    assert(services.streams:delete(name))
    local info, _, code = services.streams:info(name)
    assert.is_nil(info)
    assert.equal("KEY_NOT_FOUND", code)
  end)

  it("works with key-value buckets, each opened once", function()
    local name = nats.fresh_name()
    local bucket = assert(services.kv:bucket(name, { history = 5 }))
    assert.equal(bucket, services.kv:bucket(name))
    local revision = assert(services.kv:put(name, "a", "1"))
    local value, got = services.kv:get(name, "a")
    assert.equal("1", value)
    assert.equal(revision, got)
    assert.equal("KEY_EXISTS", select(3, services.kv:create(name, "a", "2")))
    assert(services.kv:update(name, "a", "2", revision))
    assert.same({ "a" }, services.kv:keys(name))
    assert(services.kv:delete(name, "a"))
    assert.equal("KEY_NOT_FOUND", select(3, services.kv:get(name, "a")))
    assert.same({ "connection", "streams", "kv" }, services:running())
  end)

  it("works with jobs", function()
    local queue = nats.fresh_name()
    local job = assert(services.jobs:enqueue("noop", nil, { queue = queue }))
    assert.equal("pending", job:status())
    assert.equal(job.id, assert(services.jobs:job(job.id)).id)
    assert.equal(queue, assert(services.jobs:queue(queue)).name)
    assert.same({}, services.jobs:workers())
    assert.truthy(table.concat(assert(services.jobs:queues()), " "):find(queue, 1, true))
    assert.same({ "connection", "jobs" }, services:running())
  end)

  it("starts a program's own service with what it needs, and stops it before that", function()
    local trail, conn = {}, nil
    services:register("greeter", {
      needs = { "connection", "jobs", "kv" },
      start = function(needs)
        conn = needs.connection
        assert(needs.kv:bucket(nats.fresh_name()))
        assert(needs.jobs:queue("x"))
        trail[#trail + 1] = "start"
        return { greet = function() return "hello" end }
      end,
      stop = function(greeter)
        assert(not conn.closed)
        trail[#trail + 1] = "stop " .. greeter.greet()
      end,
    })
    assert.equal("hello", assert(services:get("greeter")).greet())
    assert.same({ "connection", "jobs", "streams", "kv", "greeter" }, services:running())
    assert.is_true(services:close())
    assert.same({ "start", "stop hello" }, trail)
    assert.is_true(conn.closed)
  end)

  it("gives everything back when it is closed, twice without harm", function()
    local before = active()
    assert(services.connection:get())
    assert(services.kv:bucket(nats.fresh_name()))
    assert(services.jobs:queue("x"))
    assert.is_true(active() > before)
    assert.is_true(services:close())
    assert.is_true(services:close())
    assert.equal(before, active())
    for _, use in ipairs({
      function() services.connection:get() end,
      function() services.connection:scope(print) end,
      function() services.connection:health_check() end,
      function() services.kv:get("a", "b") end,
      function() services.streams:list() end,
      function() services.jobs:enqueue("x") end,
      function() services:get("jobs") end,
    }) do
      assert.error_matches(use, "these services are closed")
    end
  end)

  it("connects again after its connection was closed", function()
    local name = nats.fresh_name()
    assert(services.kv:put(name, "a", "1"))
    assert(services.jobs:queue("x"))
    assert.is_true(services.connection:close())
    assert.same({}, services:running())
    assert.equal("1", (services.kv:get(name, "a")))
  end)

  it("leaves nothing open when one cannot start", function()
    local before = active()
    services:register("broken", {
      needs = { "jobs" },
      start = function() return nil, "no luck", "TIMEOUT" end,
    })
    local value, message, code = services:get("broken")
    assert.is_nil(value)
    assert.equal("service broken: no luck", message)
    assert.equal("TIMEOUT", code)
    assert.same({}, services:running())
    assert.equal(before, active())
  end)

  it("says what is wrong when there is no server, and connects once there is", function()
    local port = core.free_port()
    local lonely = assert(naq.services({ config = false, servers = "nats://127.0.0.1:" .. port }))
    local conn, message, code = lonely.connection:get()
    assert.is_nil(conn)
    assert.matches("^service connection: .*nothing is listening", message)
    assert.equal("CONNECTION", code)
    local job
    job, message, code = lonely.jobs:enqueue("x")
    assert.is_nil(job)
    assert.matches("nothing is listening", message)
    assert.equal("CONNECTION", code)
    local health = lonely.connection:health_check()
    assert.is_false(health.ok)
    assert.equal("CONNECTION", health.code)
    local late = nats.start({ port = port })
    eventually(function() return lonely.connection:health_check().ok end, 5, "the server")
    assert.is_true(lonely:close())
    late:stop()
  end)

  it("is refused for a configuration that is wrong", function()
    assert.error_matches(function() naq.services({ sever = "x" }) end, "unknown option 'sever'")
    local none, message, code = naq.services({ config = "/no/such.yaml" })
    assert.is_nil(none)
    assert.matches("no such file", message)
    assert.equal("CONFIGURATION", code)
  end)

  it("raises at the caller's line for wrong arguments", function()
    local _, message = pcall(function() services.jobs:queue("a b") return 1 end)
    -- Lua 5.1 itself forgets the caller of a tail call, and so the line.
    local where = (_VERSION ~= "Lua 5.1" or jit) and "services_spec.lua:%d+: " or "" -- luacheck: ignore 113
    assert.matches("^[^\n]*" .. where .. "queue name 'a b' must be", message)
    _, message = pcall(function() services:get("nothing") end)
    assert.matches("services_spec.lua:%d+: unknown service 'nothing'", message)
    _, message = pcall(function() services:register("kv", { start = print }) end)
    assert.matches("services_spec.lua:%d+: there is a service 'kv' already", message)
  end)

  if _VERSION == "Lua 5.4" then
    it("is closed at the end of a block", function()
      local before = active()
      local run = load([[
        local services <close> = assert(...)
        assert(services.connection:get())
        error("out")
      ]])
      assert.error_matches(function() run(services) end, "out")
      assert.equal(before, active())
    end)
  end
end)
