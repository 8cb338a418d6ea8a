-- Each connection parameter of the configuration, and what libnats then does: the parameter arrived.

local core = require("naq.core")
local naq = require("naq")
local scribe = require("spec.support.scribe")
local support = require("spec.support")
local eventually, fastest, nats = support.eventually, support.fastest, support.nats

describe("the configuration of a connection:", function()
  local server, conn

  --- A connection to a scribe, with these options.
  local function connect(options, answers)
    server = scribe.start({ answers = answers })
    local all = { config = false, servers = server.url }
    for k, v in pairs(options) do
      all[k] = v
    end
    conn = assert(naq.connection(all))
    return conn
  end

  after_each(function()
    if conn then conn:close() end
    if server then server:stop() end
    conn, server = nil, nil
  end)

  --- The time between the first and the second line that match.
  local function first_gap(pattern, count)
    local lines = eventually(function()
      local lines = server:heard(pattern)
      return #lines >= count and lines
    end, 10, count .. " lines " .. pattern)
    return lines[count].at - lines[count - 1].at
  end

  it("client_name is what the server is told", function()
    connect({ client_name = "shop" })
    assert.equal("shop", server:greeting().name)
  end)

  it("user and password are sent", function()
    connect({ user = "ada", password = "hunter2" })
    local greeting = server:greeting()
    assert.equal("ada", greeting.user)
    assert.equal("hunter2", greeting.pass)
  end)

  it("token is sent", function()
    connect({ token = "hunter2" })
    assert.equal("hunter2", server:greeting().auth_token)
  end)

  it("ping_interval is how often it pings", function()
    connect({ ping_interval = 0.2 })
    local gap = first_gap("^PING$", 4)
    assert.is_true(gap > 0.1 and gap < 1.5, gap)
    conn:close()
    server:stop()
    connect({ ping_interval = 60 })
    server:greeting()
    core.sleep(0.5) -- more than twice the interval above, in which nothing may come
    assert.equal(1, #server:heard("^PING$")) -- that of connecting
  end)

  for _, most in ipairs({ 1, 4 }) do
    it("max_outstanding_pings " .. most .. " is how many may stay without an answer", function()
      connect({ ping_interval = 0.1, max_outstanding_pings = most, reconnect_time_wait = 30 }, 1)
      eventually(function() return server:heard("^CLOSED$", 1)[1] end, 10, "the connection to be given up")
      assert.equal(1 + most, #server:heard("^PING$", 1))
    end)
  end

  for _, wait in ipairs({ 0.1, 0.7 }) do
    it("reconnect_time_wait " .. wait .. " is how long it waits before it comes back", function()
      connect({ reconnect_time_wait = wait })
      assert(conn:publish("hangup", ""))
      local closed = eventually(function() return server:heard("^CLOSED$", 1)[1] end, 5, "the hangup")
      local back = eventually(function() return server:heard("^ACCEPTED$", 2)[1] end, 10, "the return")
      local waited = back.at - closed.at
      -- Up to an eighth less than said; more where the machine is busy.
      assert.is_true(waited > wait * 0.85 and waited < wait + 0.55, waited)
    end)
  end

  for _, most in ipairs({ 1, 3 }) do
    it("max_reconnect_attempts " .. most .. " is how often it tries to come back", function()
      connect({ reconnect_time_wait = 0.01, max_reconnect_attempts = most })
      assert(conn:publish("hangup", ""))
      eventually(function() return conn:status() == "closed" end, 10, "the end of the connection")
      assert.equal(1 + most, #server:heard("^ACCEPTED$"))
    end)
  end

  it("max_reconnect_attempts 0 is never to come back", function()
    connect({ reconnect_time_wait = 0.01, max_reconnect_attempts = 0 })
    assert(conn:publish("hangup", ""))
    eventually(function() return conn:status() == "closed" end, 10, "the end of the connection")
    assert.equal(1, #server:heard("^ACCEPTED$"))
  end)

  it("max_reconnect_attempts -1 is to go on for ever", function()
    connect({ reconnect_time_wait = 0.01, max_reconnect_attempts = -1 })
    assert(conn:publish("hangup", ""))
    eventually(function() return #server:heard("^ACCEPTED$") > 5 end, 15, "many attempts")
  end)

  for _, seconds in ipairs({ 0.3, 1 }) do
    it("connection_timeout " .. seconds .. " is how long a mute server is waited for", function()
      server = scribe.start({ answers = 0 })
      local took = fastest(seconds + 0.6, function()
        local none, message, code = naq.connection({
          config = false,
          servers = server.url,
          connection_timeout = seconds,
        })
        assert.is_nil(none)
        assert.equal("TIMEOUT", code)
        assert.truthy(message:find(server.url, 1, true), message)
      end)
      assert.is_true(took > seconds * 0.9 and took < seconds + 0.6, took)
    end)
  end

  for _, seconds in ipairs({ 0.2, 0.9 }) do
    it("flush_timeout " .. seconds .. " is how long a flush waits", function()
      connect({ flush_timeout = seconds }, 1)
      local took = fastest(seconds + 0.6, function()
        local done, _, code = conn:flush()
        assert.is_nil(done)
        assert.equal("TIMEOUT", code)
      end)
      assert.is_true(took > seconds * 0.9 and took < seconds + 0.6, took)
    end)

    it("drain_timeout " .. seconds .. " is how long draining waits", function()
      connect({ drain_timeout = seconds, flush_timeout = 30 }, 1)
      local begin = core.mono()
      local done, _, code = conn:drain()
      local took = core.mono() - begin
      assert.is_nil(done)
      assert.equal("TIMEOUT", code)
      assert.is_true(took > seconds * 0.9 and took < seconds + 1.8, took) -- closing flushes, up to 1 s
    end)
  end

  it("servers are tried until one answers", function()
    server = scribe.start()
    local dead = "nats://127.0.0.1:" .. core.free_port()
    conn = assert(naq.connection({ config = false, servers = { dead, server.url } }))
    assert.equal("naq", server:greeting().name)
  end)

  it("a file says all of it as well", function()
    server = scribe.start()
    local dir = assert(core.mkdtemp("naq-spec-config"))
    local f = assert(io.open(dir .. "/naq.yaml", "wb"))
    f:write(("nats:\n  servers: ['%s']\n  client_name: from-file\n  user: ada\n"):format(server.url))
    f:write("  password: ${NAQ_TEST_PW:hunter2}\n  ping_interval: 0.1\n")
    f:close()
    conn = assert(naq.connection({ config = dir .. "/naq.yaml" }))
    core.rmtree(dir)
    local greeting = server:greeting()
    assert.equal("from-file", greeting.name)
    assert.equal("ada", greeting.user)
    assert.equal("hunter2", greeting.pass)
    eventually(function() return #server:heard("^PING$") >= 4 end, 5, "pings")
  end)
end)

describe("nats.pool_size", function()
  local JOBS = [[
local core, naq = require("naq.core"), require("naq")
naq.job("hold", function(args)
  local options = { config = false, servers = args.url, client_name = "held", pool_size = args.size }
  local conn = assert(naq.connection(options))
  assert(conn:publish("holding", ""))
  repeat core.sleep(0.01) until io.open(args.gate)
  conn:close()
end)
]]
  local server, worker, folder, watcher

  setup(function()
    server = nats.start({
      config = {
        "accounts {",
        "  $SYS { users = [{user: sys, password: sys}] }",
        "  A { jetstream: true, users = [{user: a, password: a}] }",
        "}",
        "no_auth_user: a",
      },
    })
    folder = assert(core.mkdtemp("naq-spec-config"))
    local f = assert(io.open(folder .. "/jobs.lua", "wb"))
    f:write(JOBS)
    f:close()
    worker = support.start_worker({ url = server.url, jobs = { folder .. "/jobs.lua" }, threads = 6 })
    watcher = server:connect({ user = "sys", password = "sys" })
  end)
  teardown(function()
    worker:stop()
    watcher:close()
    server:stop()
    core.rmtree(folder)
  end)

  local function held()
    local text = assert(watcher:request("$SYS.REQ.SERVER.PING.CONNZ", "{}", 2))
    local count = 0
    for _, connection in ipairs(assert(core.decode(text)).data.connections) do
      if connection.name == "held" then count = count + 1 end
    end
    return count
  end

  -- A pool is that of its servers and credentials: each size has its own way to say the same.
  for size, host in ipairs({ "127.1", "a:a@127.1", "a:a@127.0.0.1" }) do
    it(size .. " is how many connections the threads of a process share", function()
      local client = server:client()
      local listener = assert(naq.connection({ config = false, servers = server.url }))
      local holding = assert(listener:subscribe("holding"))
      assert(listener:flush())
      local gate = ("%s/gate-%d"):format(folder, size)
      local before = held()
      local url = ("nats://%s:%d"):format(host, server.port)
      for _ = 1, 6 do
        assert(client:enqueue("hold", { url = url, size = size, gate = gate }))
      end
      for _ = 1, 6 do
        assert(holding:next(10))
      end
      assert.equal(size, held() - before)
      assert(io.open(gate, "wb")):close()
      client:close()
      listener:close()
    end)
  end
end)

describe("nats.replicas", function()
  it("is how many copies of streams the server is asked for", function()
    local server = nats.start()
    local client = server:client({ replicas = 3 })
    local layout, message = client:ensure_layout()
    assert.is_nil(layout)
    assert.matches("replicas", message) -- a server alone cannot have three
    client:close()
    server:stop()
  end)
end)
