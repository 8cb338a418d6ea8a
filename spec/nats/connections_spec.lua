local support = require("spec.support")
local core = require("naq.core")
local naq = require("naq")
local nats = support.nats

-- What the pool has for this server.
local function pool_of(server)
  for _, pool in ipairs(naq.connection_stats().pools) do
    if pool.servers == server.url then return pool end
  end
  return { opened = 0, open = 0, active = 0, handles = 0, reused = 0, failed = 0, reconnects = 0 }
end

local function given_back(server) return pool_of(server).handles == 0 end

describe("naq.connection()", function()
  local server, config
  setup(function()
    server = nats.start()
    config = { servers = server.url }
  end)
  teardown(function()
    naq.close_connections(server.url)
    server:stop()
  end)

  it("gives a handle on a connection that stays for the next", function()
    local conn = assert(naq.connection(config))
    assert.equal("connected", conn:status())
    assert.is_true(conn:publish("somewhere", "text"))
    assert.is_true(conn:flush())
    assert.is_true(conn:rtt() < 5)
    conn:close()
    local before = pool_of(server)
    assert.same({ 1, 0, 0 }, { before.open, before.active, before.handles })
    naq.connection(config):close()
    local after = pool_of(server)
    assert.equal(before.opened, after.opened)
    assert.equal(before.reused + 1, after.reused)
  end)

  it("raises where a closed handle is used, or wrongly used", function()
    local conn = assert(naq.connection(config))
    local js_error = "^spec/nats/connections_spec.lua:%d+: "
    for _, call in ipairs({
      function() conn:publish(1) end,
      function() conn:request("x", "y", 0) end,
      function() conn:flush("soon") end,
      function() conn:on("reconected", print) end,
      function() conn:on("closed") end,
      function() naq.connection({ sevrers = "x" }) end,
    }) do
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.matches(js_error, err)
    end
    conn:close()
    conn:close() -- twice is fine
    for _, method in ipairs({ "publish", "request", "flush", "rtt", "status", "stats", "health", "info", "jetstream",
      "on", "dispatch", "drain", "subscribe" }) do
      local ok, err = pcall(function()
        local value = conn[method](conn, "closed", print)
        return value
      end)
      assert.is_false(ok, method)
      assert.matches(js_error .. "this connection is closed", err)
    end
  end)

  it("takes the configuration of another connection", function()
    local a = assert(naq.connection(config))
    local b = assert(naq.connection(a.config))
    assert.equal(a:stats().reconnects, b:stats().reconnects)
    a:close()
    b:close()
    assert.is_true(given_back(server))
  end)

  it("may be used and closed in a coroutine, and collected in any order", function()
    local thread = coroutine.wrap(function()
      local conn = assert(naq.connection(config))
      coroutine.yield(conn:publish("somewhere"))
      conn:close()
      coroutine.yield("closed")
    end)
    assert.is_true(thread())
    assert.equal("closed", thread())
    for _ = 1, 50 do
      local a, b = assert(naq.connection(config)), assert(naq.connection(config))
      a:on("closed", function() return b end)
      assert(b:subscribe("somewhere", function() return a end))
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(given_back(server))
  end)

  it("stands the collector at its most eager", function()
    local pause, step = collectgarbage("setpause", 0), collectgarbage("setstepmul", 10000)
    for _ = 1, 50 do
      naq.with_connection(config, function(conn)
        conn:on("reconnected", print)
        assert(conn:publish("somewhere", ("x"):rep(100), { name = "value" }))
        assert(conn:dispatch() == 0)
        assert(conn:health().ok)
        assert(#naq.connection_stats().pools > 0)
      end)
    end
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", step)
    assert.is_true(given_back(server))
  end)

  it("has sent what was published when it is given back, and when a program ends", function()
    local listener = assert(naq.connection(config))
    local sub = assert(listener:subscribe("told.>"))
    naq.with_connection({ servers = server.url, client_name = "another" }, function(conn)
      assert(conn:publish("told.closed", "a"))
    end)
    assert.equal("told.closed", assert(sub:next(5)).subject)

    local dir = assert(core.mkdtemp("naq-spec-exit"))
    local path = dir .. "/program.lua"
    local f = assert(io.open(path, "wb"))
    f:write([[local conn = assert(require("naq").connection())
      for i = 1, 1000 do assert(conn:publish("told.exit", ("x"):rep(1000))) end
      os.exit(0, false)]])
    f:close()
    local begin = core.mono()
    local status, _, errors = support.naq("run", path, { env = { NAQ_NATS_URL = server.url } })
    assert.equal("", errors)
    assert.equal(0, status)
    assert.is_true(core.mono() - begin < 10)
    for _ = 1, 1000 do
      assert.equal("told.exit", assert(sub:next(5)).subject)
    end
    core.rmtree(dir)
    listener:close()
  end)
end)

describe("the scoped forms", function()
  local server, config
  setup(function()
    server = nats.start()
    config = { servers = server.url }
  end)
  teardown(function()
    naq.close_connections(server.url)
    server:stop()
  end)

  local function count(...) return select("#", ...), ... end

  it("return all that the function returns", function()
    local n, a, b, c = count(naq.with_connection(config, function() return 1, nil, nil end))
    assert.same({ 3, 1 }, { n, a, b, c })
    assert.equal(0, (count(naq.with_connection(config, function() end))))
    assert.is_true(given_back(server))
  end)

  it("give back on an error, and let it through as it was", function()
    local thrown = { "any value" }
    for _, run in ipairs({
      function() naq.with_connection(config, function() error(thrown) end) end,
      function() naq.uses_connection(function() error(thrown) end, config)() end,
    }) do
      local ok, err = pcall(run)
      assert.is_false(ok)
      assert.equal(thrown, err) -- the very same
      assert.is_true(given_back(server))
    end
    local _, nothing = pcall(naq.with_connection, config, function() error(nil) end)
    assert.is_nil(nothing)
    local _, text = pcall(naq.with_connection, config, function() error("plain", 0) end)
    assert.equal("plain", text)
    assert.is_true(given_back(server))
  end)

  if _VERSION == "Lua 5.4" then
    it("keep the stack of an error, and work with <close>", function()
      local function culprit() error("here") end
      local _, trace = xpcall(function()
        naq.with_connection(config, function() culprit() end)
      end, debug.traceback)
      assert.matches("culprit", trace)
      local run = load([[local naq, config = ...
        local conn <close> = assert(naq.connection(config))
        assert(conn:status() == "connected")
        error("out")]])
      assert.is_false((pcall(run, naq, config)))
      assert.is_true(given_back(server))
    end)
  end

  it("inject what the function uses", function()
    local add = naq.uses_connection(function(conn, a, b) return conn:status(), a, b end, config)
    assert.same({ "connected", 1, 2 }, { add(1, 2) })
    assert.same({ "connected" }, { add() })
    assert.is_true(given_back(server))
  end)

  it("hand out JetStream and buckets, and give back with them", function()
    local bucket = support.fresh_name()
    local revision = naq.with_kv(bucket, config, function(kv, conn)
      assert(conn:status() == "connected")
      return kv:put("theme", "dark")
    end)
    assert.equal(1, revision)
    local read = naq.uses_jetstream(function(js, name, key)
      return assert(js:kv(name)):get(key)
    end, config)
    assert.same({ "dark", 1 }, { read(bucket, "theme") })
    local value, same = naq.with_jetstream(config, function(js, conn)
      return assert(js:kv(bucket)):get("theme"), conn:status()
    end)
    assert.same({ "dark", "connected" }, { value, same })
    for _, run in ipairs({
      function() naq.with_jetstream(config, function() error("js", 0) end) end,
      function() naq.with_kv(bucket, config, function() error("kv", 0) end) end,
    }) do
      assert.is_false((pcall(run)))
    end
    assert.is_true(given_back(server))
    local missing, _, code = naq.with_kv("no such name", config, function() error("called") end)
    assert.is_nil(missing)
    assert.equal("INVALID", code)
    assert.is_true(given_back(server))
  end)

  it("answer why there is no connection, without calling", function()
    local function never() error("called") end
    local nobody = { servers = "127.0.0.1:1" }
    for _, run in ipairs({
      function() return naq.with_connection(nobody, never) end,
      function() return naq.with_jetstream(nobody, never) end,
      function() return naq.with_kv("bucket", nobody, never) end,
      naq.uses_connection(never, nobody),
      naq.uses_jetstream(never, nobody),
    }) do
      local value, message, code = run()
      assert.is_nil(value)
      assert.equal("CONNECTION", code)
      assert.matches("nats://127.0.0.1:1", message, 1, true)
    end
  end)

  it("raise at the caller's line when there is nothing to call", function()
    for _, run in ipairs({
      function() naq.with_connection(config) end,
      function() naq.uses_connection("f") end,
      function() naq.with_kv(1, config, print) end,
      function() naq.with_connection({ sevrers = "" }, print) end,
    }) do
      local ok, err = pcall(run)
      assert.is_false(ok)
      assert.matches("^spec/nats/connections_spec.lua:%d+: ", err)
    end
  end)
end)

describe("naq.test_connection()", function()
  it("opens a connection of its own and tells how long it took", function()
    local server = nats.start()
    local works, timing = naq.test_connection({ servers = server.url })
    assert.is_true(works)
    assert.is_true(timing.connect_time > 0 and timing.connect_time < 5)
    assert.is_true(timing.rtt > 0 and timing.rtt < 5)
    assert.equal(server.url, timing.url)
    assert.equal(0, pool_of(server).opened)
    server:stop()
    local value, message, code = naq.test_connection({ servers = server.url })
    assert.is_nil(value)
    assert.equal("CONNECTION", code)
    assert.truthy(message:find(server.url, 1, true))
  end)
end)

describe("naq.wait_for_connection()", function()
  it("waits until the server is there", function()
    local server = nats.start()
    assert.is_true(naq.wait_for_connection(5, { servers = server.url }))
    local back = server:kill_meanwhile(0, 0.3)
    core.sleep(0.1) -- the shell's turn
    assert.is_true(naq.wait_for_connection(20, { servers = server.url }))
    back()
    server:stop()
  end)

  it("never longer than it may", function()
    local frozen = nats.start()
    frozen:freeze()
    for _, url in ipairs({ frozen.url, "nats://127.0.0.1:1" }) do
      local begin = core.mono()
      local value, message, code = naq.wait_for_connection(0.4, { servers = url })
      local took = core.mono() - begin
      assert.is_nil(value)
      assert.equal("TIMEOUT", code)
      assert.truthy(message:find(url, 1, true))
      assert.is_true(took >= 0.39 and took < 1.5, took)
    end
    frozen:thaw()
    frozen:stop()
    assert.has_error(function() naq.wait_for_connection(0) end)
    assert.has_error(function() naq.wait_for_connection() end)
  end)

  it("not at all for what waiting does not change", function()
    local server = nats.start({ config = { "authorization { user: ada, password: right }" } })
    local begin = core.mono()
    local _, message, code = naq.wait_for_connection(30, { servers = server.url, user = "ada", password = "wrong" })
    assert.equal("AUTH", code)
    assert.is_nil(message:find("wrong", 1, true))
    assert.is_true(core.mono() - begin < 10)
    server:stop()
  end)
end)

describe("naq.close_all()", function()
  it("closes connections under their handles, which answer CLOSED", function()
    local server, other = nats.start(), nats.start()
    local conn = assert(naq.connection({ servers = server.url }))
    local elsewhere = assert(naq.connection({ servers = other.url }))
    local client = assert(naq.connect({ servers = server.url }))
    local sub = assert(conn:subscribe("somewhere"))
    local watched = {}
    conn:on("closed", function(event) watched[#watched + 1] = event.event end)
    assert.equal(1, naq.close_connections({ server.url }))
    assert.equal("connected", elsewhere:status())
    assert.equal("closed", conn:status())
    for _, call in ipairs({
      function() return conn:publish("x") end,
      function() return conn:request("x", "", 1) end,
      function() return conn:flush() end,
      function() return conn:rtt() end,
      function() return conn:info() end,
      function() return conn:subscribe("x") end,
      function() return sub:next(1) end,
      function() return client:enqueue("job") end,
    }) do
      local value, _, code = call()
      assert.is_nil(value)
      assert.equal("CLOSED", code)
    end
    local health = conn:health()
    assert.same({ false, "closed", "CLOSED" }, { health.ok, health.status, health.code })
    assert.equal(1, conn:dispatch())
    assert.same({ "closed" }, watched)
    assert.is_true(naq.close_all() >= 1)
    assert.equal("closed", elsewhere:status())
    local fresh = assert(naq.connection({ servers = server.url }))
    assert.is_true(fresh:flush())
    for _, handle in ipairs({ conn, elsewhere, client, fresh, conn }) do
      handle:close()
    end
    assert.equal(0, naq.connection_stats().handles)
    naq.close_all()
    assert.equal(0, naq.connection_stats().open)
    assert.has_error(function() naq.close_connections() end)
    assert.has_error(function() naq.close_connections({ 1 }) end)
    server:stop()
    other:stop()
  end)

  it("leaves nothing of them behind, once what was made with them is closed", function()
    local server = nats.start()
    local function memory()
      collectgarbage()
      collectgarbage()
      local f = assert(io.open("/proc/self/status"))
      local kb = tonumber(f:read("*a"):match("VmRSS:%s*(%d+)"))
      f:close()
      return kb
    end
    local function round()
      local conn = assert(naq.connection({ servers = server.url }))
      local js = conn:jetstream()
      assert(js:ensure_stream("CLOSED", { subjects = { "closed" } }))
      local taken, called = assert(conn:subscribe("x")), assert(conn:subscribe("y", function() end))
      assert(js:publish_async("closed", "x"))
      assert(js:await(5))
      naq.close_all()
      taken:close()
      called:close()
      conn:close()
    end
    for _ = 1, 20 do
      round()
    end
    local before = memory()
    for _ = 1, 100 do
      round()
    end
    local grown = memory() - before -- 5 MB, when a round leaves its connection behind
    if not support.preload then -- a sanitizer keeps what was freed
      assert.is_true(grown < 2500, grown .. " KB")
    end
    server:stop()
  end)
end)
