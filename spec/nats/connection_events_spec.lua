local support = require("spec.support")
local core = require("naq.core")
local naq = require("naq")
local eventually, nats = support.eventually, support.nats

-- A connection that notes the names of its events.
local function watched(server, options)
  local all = { servers = server.url }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  local conn = assert(naq.connection(all))
  local seen = {}
  for _, name in ipairs({ "disconnected", "reconnected", "slow_consumer", "lame_duck", "closed", "error" }) do
    conn:on(name, function(event)
      assert(event.event == name and event.message ~= "" and event.time > 1e9)
      seen[#seen + 1] = name
    end)
  end
  return conn, seen
end

-- Dispatch until n events were seen; which.
local function until_seen(conn, seen, n)
  eventually(function()
    conn:dispatch(0.05)
    return #seen >= n, table.concat(seen, " ")
  end, 20, n .. " events")
  conn:dispatch(0.05)
  return table.concat(seen, " ")
end

describe("conn:on()", function()
  local function count_in_log(fn, pattern)
    local dir = assert(core.mkdtemp("naq-spec-log"))
    local path = dir .. "/log"
    assert(core.configure_log({ level = "debug", file = path }))
    fn()
    assert(core.configure_log({ level = "warn" }))
    local f = assert(io.open(path, "rb"))
    local _, n = f:read("*a"):gsub(pattern, "")
    f:close()
    core.rmtree(dir)
    return n
  end

  it("tells of a server that is lost and comes back, once each", function()
    local server = nats.start()
    local conn, seen = watched(server)
    local other, also = watched(server) -- the same connection, a handle of its own
    local n = count_in_log(function()
      server:kill()
      until_seen(conn, seen, 1)
      assert.same({ "disconnected" }, seen)
      assert.equal("reconnecting", conn:status())
      local begin = core.mono()
      local health = conn:health(0.2)
      assert.same({ false, "CONNECTION" }, { health.ok, health.code })
      assert.is_true(core.mono() - begin < 2)
      server:restart()
      assert.equal("disconnected reconnected", until_seen(conn, seen, 2))
    end, "lost the connection")
    assert.equal(1, n)
    assert.equal("disconnected reconnected", until_seen(other, also, 2))
    local health = conn:health()
    assert.same({ true, "connected", 1, 1, server.url },
      { health.ok, health.status, health.reconnects, health.disconnects, health.server })
    conn:close()
    other:close()
    naq.close_connections(server.url)
    server:stop()
  end)

  it("tells of lame-duck mode", function()
    local server = nats.start({ config = { 'lame_duck_duration: "30s"', 'lame_duck_grace_period: "1s"' } })
    local conn, seen = watched(server)
    core.kill(server.pid, "USR2")
    assert.equal("lame_duck", until_seen(conn, seen, 1):match("^%S+"))
    assert.equal(1, conn:stats().lame_ducks)
    conn:close()
    naq.close_connections(server.url)
    server:stop()
  end)

  it("tells of a slow consumer once, however much is dropped", function()
    local server = nats.start()
    local conn, seen = watched(server)
    local n = count_in_log(function()
      local sub = assert(conn:subscribe("flood", { max_messages = 10 }))
      for _ = 1, 5 do
        for _ = 1, 200 do
          assert(conn:publish("flood", "x"))
        end
        assert(conn:flush())
        assert(sub:next(5))
      end
      assert.equal("slow_consumer", until_seen(conn, seen, 1))
    end, "too slow")
    assert.equal(1, n)
    assert.equal(1, conn:stats().slow_consumers)
    conn:close()
    naq.close_connections(server.url)
    server:stop()
  end)

  describe("of what the server refuses", function()
    local server, conn, seen
    before_each(function()
      server = nats.start({
        jetstream = false,
        config = { 'authorization { users: [ { user: ada, password: a, permissions: { publish: ["ok"] } } ] }' },
      })
      conn, seen = watched(server, { user = "ada", password = "a" })
    end)
    after_each(function()
      conn:close()
      naq.close_connections(server.url)
      server:stop()
    end)

    local function publish(n, subject)
      for i = 1, n do
        assert(conn:publish(subject:format(i), ""))
      end
      assert(conn:flush())
    end

    -- So many that one is told of while the next is read.
    it("tells once while it goes on", function()
      local n = count_in_log(function()
        publish(50000, "not.ok")
        assert.equal("error", until_seen(conn, seen, 1))
      end, "Violation")
      assert.same({ 1, 1 }, { n, conn:stats().errors })
    end)

    it("tells of each subject, whichever was the last", function()
      local subjects = {}
      conn:on("error", function(event) subjects[#subjects + 1] = event.message:match('"(.*)"') end)
      publish(5, "not.ok.%d")
      until_seen(conn, seen, 5)
      assert.same({ "not.ok.1", "not.ok.2", "not.ok.3", "not.ok.4", "not.ok.5" }, subjects)
    end)

    it("tells of nine subjects out of thousands", function()
      local n = count_in_log(function()
        publish(3000, "not.ok.%d")
        until_seen(conn, seen, 9)
      end, "Violation")
      assert.same({ 9, 9 }, { n, conn:stats().errors })
    end)
  end)

  it("tells that reconnecting was given up; the next connection is a new one", function()
    local server = nats.start()
    local conn, seen = watched(server, { max_reconnect_attempts = 1, reconnect_time_wait = 0.02 })
    server:kill()
    assert.equal("disconnected closed", until_seen(conn, seen, 2))
    local done, message, code = conn:publish("x")
    assert.is_nil(done)
    assert.equal("CLOSED", code)
    assert.matches("given up", message)
    server:restart()
    local fresh = assert(naq.connection({ servers = server.url, max_reconnect_attempts = 1 }))
    assert.is_true(fresh:flush())
    conn:close()
    fresh:close()
    naq.close_connections(server.url)
    server:stop()
  end)

  it("starts with what happens from then on, and lets an error through", function()
    local server = nats.start()
    local conn = assert(naq.connection({ servers = server.url }))
    server:kill()
    eventually(function() return conn:status() == "reconnecting" end)
    server:restart()
    eventually(function() return conn:stats().reconnects == 1 end)
    local ran = 0
    conn:on("reconnected", function() ran = ran + 1 end)
    assert.equal(0, conn:dispatch(0.05))
    conn:on("closed", function() error("mine", 0) end)
    naq.close_connections(server.url)
    local ok, err = pcall(conn.dispatch, conn, 5)
    assert.same({ false, "mine", 0 }, { ok, err, ran })
    conn:close()
    server:stop()
  end)
end)

describe("conn:drain()", function()
  local server, config
  setup(function()
    server = nats.start()
    config = { servers = server.url }
  end)
  teardown(function()
    naq.close_connections(server.url)
    server:stop()
  end)

  it("runs what has come, sends what was published, and closes the handle", function()
    local listener = assert(naq.connection(config))
    local heard = assert(listener:subscribe("drained"))
    local conn = assert(naq.connection(config))
    local got = 0
    assert(conn:subscribe("work", function()
      got = got + 1
      assert(conn:publish("drained", tostring(got)))
    end))
    for _ = 1, 100 do
      assert(conn:publish("work"))
    end
    assert.is_true(conn:drain(10))
    assert.equal(100, got)
    assert.has_error(function() conn:publish("x") end)
    for i = 1, 100 do
      assert.equal(tostring(i), assert(heard:next(5)).data)
    end
    listener:close()
  end)

  it("ends in time", function()
    local conn = assert(naq.connection(config))
    server:freeze()
    assert(conn:publish("x"))
    local begin = core.mono()
    local done, _, code = conn:drain(0.3)
    assert.is_nil(done)
    assert.equal("TIMEOUT", code)
    assert.is_true(core.mono() - begin < 3)
    server:thaw()
  end)
end)
