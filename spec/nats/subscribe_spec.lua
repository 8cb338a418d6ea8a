-- conn:subscribe(): messages taken one by one, and their bounds and ends; functions run by dispatch().
local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

describe("a subscription", function()
  local server, conn, other
  setup(function()
    server = nats.start({ jetstream = false })
    conn = assert(naq.connection({ servers = server.url }))
    other = assert(naq.connection({ servers = server.url, client_name = "other" }))
  end)
  teardown(function()
    conn:close()
    other:close()
    server:stop()
  end)

  local function publish(subject, n)
    for i = 1, n do
      assert(conn:publish(subject, tostring(i)))
    end
    assert(conn:flush(5))
  end

  -- The server's PONG comes behind all that was delivered before.
  local function arrived(sub, n)
    eventually(function() return sub:stats().messages == n, sub:stats().messages end, 5, n .. " messages")
  end

  it("takes messages in order, with subject and wildcards", function()
    local name = support.fresh_name()
    local sub = assert(conn:subscribe(name .. ".*.x"))
    conn:publish(name .. ".1.x", "a")
    conn:publish(name .. ".1.y", "b")
    conn:publish(name .. ".2.x", "c")
    local first, second = assert(sub:next(5)), assert(sub:next(5))
    assert.equal(name .. ".1.x", first.subject)
    assert.equal("a", first.data)
    assert.equal("c", second.data)
    local m, why, code = sub:next(0.05)
    assert.is_nil(m)
    assert.equal("TIMEOUT", code)
    assert.matches(name, why, 1, true)
    assert.is_nil((sub:next(0)))
    sub:close()
  end)

  it("is known to the server when subscribe() returns", function()
    for _ = 1, 50 do
      local name = support.fresh_name()
      local sub = assert(conn:subscribe(name))
      other:publish(name, "x")
      assert(sub:next(5))
      sub:close()
    end
  end)

  it("waits without limit, woken by the message", function()
    local name = support.fresh_name()
    local sub = assert(conn:subscribe(name))
    local script = ("sleep 0.3; printf 'CONNECT {}\\r\\nPUB %s 1\\r\\nx\\r\\nPING\\r\\n' | timeout 1 bash -c"
      .. " 'exec 3<>/dev/tcp/127.0.0.1/%d; cat >&3; sleep 0.2'"):format(name, server.port)
    local pid = assert(core.spawn({ "bash", "-c", script }, { die_with_parent = true, env = { LD_PRELOAD = false } }))
    assert.equal("x", assert(sub:next()).data)
    core.wait(pid, 5)
    sub:close()
  end)

  it("iterates until none comes in time, and says why it ended", function()
    local name = support.fresh_name()
    local sub = assert(conn:subscribe(name))
    publish(name, 3)
    local got = {}
    for m in sub:messages(0.1) do
      got[#got + 1] = m.data
    end
    assert.same({ "1", "2", "3" }, got)
    assert.equal("TIMEOUT", sub.code)
    publish(name, 3)
    for _ in sub:messages(5) do
      sub:close() -- ends the loop
    end
  end)

  it("shares messages within a queue group", function()
    local name = support.fresh_name()
    local a = assert(conn:subscribe(name, { queue = "g" }))
    local b = assert(other:subscribe(name, { queue = "g" }))
    local all = assert(conn:subscribe(name))
    publish(name, 100)
    arrived(all, 100)
    eventually(function() return a:stats().messages + b:stats().messages == 100 end)
    assert.is_true(a:stats().messages > 0 and b:stats().messages > 0)
    a:close()
    b:close()
    all:close()
  end)

  for form, fn in pairs({ taken = false, dispatched = function() end }) do
    it("drops the newest when it is full and counts them, " .. form, function()
      local name = support.fresh_name()
      local mine = assert(naq.connection({ servers = server.url }))
      local events = {}
      mine:on("slow_consumer", function(e) events[#events + 1] = e end)
      local got = {}
      local take = fn and function(m) got[#got + 1] = m.data end or nil
      local sub = assert(mine:subscribe(name, { max_messages = 10 }, take))
      publish(name, 100)
      eventually(function() return sub:stats().dropped == 90, sub:stats().dropped end, 5, "90 to be dropped")
      assert.equal(10, sub:stats().messages)
      eventually(function()
        mine:dispatch(0.01)
        return #events == 1
      end, 5, "the event")
      for i = 1, 10 do
        if not fn then got[i] = assert(sub:next(1)).data end
      end
      assert.same({ "1", "2", "3", "4", "5", "6", "7", "8", "9", "10" }, got)
      publish(name, 1) -- there is room again
      if fn then
        eventually(function()
          mine:dispatch(0.05)
          return #got == 11
        end)
      else
        assert(sub:next(5))
      end
      assert.equal(11, sub:stats().delivered)
      assert.equal(1, #events) -- once
      mine:close()
    end)

    it("bounds the bytes that wait, " .. form, function()
      local name = support.fresh_name()
      local sub = assert(conn:subscribe(name, { max_bytes = 2500 }, fn or nil))
      for _ = 1, 5 do
        conn:publish(name, ("x"):rep(1000))
      end
      eventually(function() return sub:stats().dropped == 3 end, 5, "3 to be dropped")
      assert.equal(2, sub:stats().messages)
      assert.equal(2000, sub:stats().bytes)
      sub:close()
    end)
  end

  it("ends by itself after its limit", function()
    local name = support.fresh_name()
    local sub = assert(conn:subscribe(name, { limit = 2 }))
    publish(name, 5)
    assert.equal("1", assert(sub:next(5)).data)
    assert.equal("2", assert(sub:next(5)).data)
    local m, why, code = sub:next(5)
    assert.is_nil(m)
    assert.equal("CLOSED", code)
    assert.matches("ended", why)
    assert.is_false(sub:stats().active)
    sub = assert(conn:subscribe(name))
    assert.is_true(sub:unsubscribe(1))
    publish(name, 2)
    assert(sub:next(5))
    assert.equal("CLOSED", select(3, sub:next(5)))
    sub:close()
  end)

  it("drains: what has come can be taken, nothing more comes", function()
    local name = support.fresh_name()
    local sub = assert(conn:subscribe(name))
    publish(name, 3)
    arrived(sub, 3)
    assert.is_true(sub:drain())
    eventually(function() -- the server has heard of it
      return select(3, other:request(name, "x", 1)) == "CONNECTION"
    end, 5, "the end of interest")
    local got = 0
    for _ in sub:messages(5) do
      got = got + 1
    end
    assert.is_true(got >= 3)
    assert.equal("CLOSED", sub.code)
    sub:close()
  end)

  it("raises for options that are misspelt or make no sense, and for a subject that is none", function()
    local ok, why = pcall(conn.subscribe, conn, "a", { max_mesages = 1 })
    assert.is_false(ok)
    assert.matches("did you mean 'max_messages'", why, 1, true)
    assert.has_error(function() conn:subscribe("a", { max_messages = 0 }) end)
    assert.has_error(function() conn:subscribe("a", { limit = -1 }) end)
    assert.has_error(function() conn:subscribe(7) end)
    assert.has_error(function() conn:subscribe("a", nil, "fn") end)
    for _, subject in ipairs({ "", "a b", "a.>.b", "a..b", "a\r\n" }) do
      assert.equal("INVALID", select(3, conn:subscribe(subject)), subject)
    end
    assert.equal("INVALID", select(3, conn:subscribe("a", { queue = "a b" })))
  end)

  it("survives a restart of the server", function()
    local own = nats.start({ jetstream = false })
    local mine = assert(naq.connection({ servers = own.url }))
    local sub = assert(mine:subscribe("again"))
    own:kill()
    eventually(function() return mine:status() == "reconnecting" end)
    assert.equal("TIMEOUT", select(3, sub:next(0.1)))
    local late = assert(mine:subscribe("late")) -- made while the connection is away
    own:restart()
    eventually(function()
      mine:publish("again", "x")
      mine:publish("late", "y")
      return sub:next(0.1) and late:next(0.1)
    end, 10, "messages after the restart")
    mine:close()
    own:stop()
  end)
end)

describe("a subscription that is not permitted", function()
  it("answers PERMISSION", function()
    local server = nats.start({
      jetstream = false,
      config = {
        "authorization { users: [",
        '  { user: a, password: b, permissions: { subscribe: ["ok", "_INBOX.>"] } }',
        "] }",
      },
    })
    local conn = assert(naq.connection({ servers = server.url, user = "a", password = "b" }))
    local sub, why, code = conn:subscribe("secret")
    assert.is_nil(sub)
    assert.equal("PERMISSION", code)
    assert.matches("secret", why)
    local ok = assert(conn:subscribe("ok"))
    -- What is refused beside it does not concern it.
    assert.equal("PERMISSION", select(3, conn:subscribe("not.ok")))
    assert.equal("TIMEOUT", select(3, ok:next(0.6)))
    conn:publish("ok", "x")
    assert.equal("x", assert(ok:next(5)).data)
    -- Allowed no more: told once, and again only if it happens again.
    server:reload({
      "authorization { users: [",
      '  { user: a, password: b, permissions: { subscribe: ["other", "_INBOX.>"] } }',
      "] }",
    })
    eventually(function() return select(3, ok:next(0.5)) == "PERMISSION" end, 10, "the refusal")
    assert.equal("TIMEOUT", select(3, ok:next(0.1)))
    -- Allowed by now: that it was refused before is not held against it.
    assert.equal("PERMISSION", select(3, conn:subscribe("secret")))
    server:reload({
      "authorization { users: [",
      '  { user: a, password: b, permissions: { subscribe: ["secret", "_INBOX.>"] } }',
      "] }",
    })
    assert(conn:subscribe("secret"))
    conn:close()
    server:stop()
  end)
end)

describe("conn:dispatch()", function()
  local server, conn
  setup(function() server = nats.start({ jetstream = false }) end)
  teardown(function() server:stop() end)
  before_each(function() conn = assert(naq.connection({ servers = server.url })) end)
  after_each(function() conn:close() end)

  -- Dispatch until so many functions have run.
  local function run(n)
    local ran = 0
    eventually(function()
      ran = ran + assert(conn:dispatch(0.2))
      return ran >= n, ran
    end, 10, n .. " functions")
    return ran
  end

  it("runs the functions on the caller's thread, in the order of arrival", function()
    local got = {}
    local state = coroutine.running()
    local a = assert(conn:subscribe("a", function(m, sub)
      assert.equal(state, (coroutine.running()))
      got[#got + 1] = sub.subject .. m.data
    end))
    assert(conn:subscribe("b", function(m) got[#got + 1] = "b" .. m.data end))
    for i = 1, 3 do
      conn:publish("a", tostring(i))
      conn:flush(5)
    end
    assert.equal(3, run(3))
    assert.same({ "a1", "a2", "a3" }, got)
    a:close()
    conn:publish("a", "4")
    conn:publish("b", "5")
    assert.equal(1, run(1))
    assert.equal("b5", got[4])
  end)

  it("does not wait without seconds, and answers 0 when nothing came", function()
    local took = support.fastest(0.2, function() assert.equal(0, conn:dispatch()) end)
    assert.is_true(took < 0.2, took)
    assert.equal(0, conn:dispatch(0.05))
    assert.has_error(function() conn:dispatch(-1) end)
    assert.has_error(function() conn:dispatch("1") end)
  end)

  it("lets an error through, and delivers the rest the next time", function()
    local got = 0
    assert(conn:subscribe("e", function(m)
      got = got + 1
      if m.data == "bad" then error("no good") end
    end))
    conn:publish("e", "bad")
    conn:publish("e", "good")
    conn:flush(5)
    local failures = 0
    eventually(function()
      local ok, why = pcall(conn.dispatch, conn, 0.1)
      if not ok then
        failures = failures + 1
        assert.matches("no good", why)
      end
      return got == 2
    end)
    assert.equal(1, failures)
  end)

  it("may be left by closing the subscription or the connection in a function", function()
    local got = 0
    assert(conn:subscribe("c", function(_, sub)
      got = got + 1
      sub:close()
    end))
    for _ = 1, 3 do
      conn:publish("c", "x")
    end
    conn:flush(5)
    run(1)
    assert.equal(0, conn:dispatch(0.05))
    assert.equal(1, got)
    assert(conn:subscribe("d", function() conn:close() end))
    conn:publish("d", "x")
    conn:publish("d", "x")
    conn:flush(5)
    eventually(function() return conn.closed or (conn:dispatch(0.1) and conn.closed) end)
    assert.has_error(function() conn:dispatch() end)
  end)

  it("may be called in a function, and in a coroutine whose functions yield", function()
    local got = {}
    assert(conn:subscribe("co", function(m) got[#got + 1] = coroutine.yield(m.data) end))
    conn:publish("co", "1")
    local co = coroutine.wrap(function()
      while #got < 1 do
        conn:dispatch(0.1)
      end
      return "done"
    end)
    assert.equal("1", co())
    assert.equal("done", co("answer"))
    assert.same({ "answer" }, got)
  end)

  it("ends a subscription with a limit", function()
    local got = 0
    local sub = assert(conn:subscribe("l", { limit = 2 }, function() got = got + 1 end))
    for _ = 1, 5 do
      conn:publish("l", "x")
    end
    run(2)
    assert.equal(0, conn:dispatch(0.05))
    assert.equal(2, got)
    assert.is_true(sub.closed)
  end)

  it("leaves next() to subscriptions without a function", function()
    local sub = assert(conn:subscribe("n", function() end))
    assert.has_error(function() sub:next(0) end)
    assert.has_error(function() sub:messages()() end)
  end)

  it("runs the functions of what happens to the connection", function()
    local own = nats.start({ jetstream = false })
    local mine = assert(naq.connection({ servers = own.url }))
    local seen = {}
    mine:on("disconnected", function() seen[#seen + 1] = "disconnected" end)
    mine:on("reconnected", function() seen[#seen + 1] = "reconnected" end)
    own:kill()
    own:restart()
    eventually(function()
      mine:dispatch(0.2)
      return #seen == 2
    end, 10, "both events")
    assert.same({ "disconnected", "reconnected" }, seen)
    mine:close()
    own:stop()
  end)
end)
