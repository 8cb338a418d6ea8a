-- Core NATS of a connection: publish, request, answers, headers.
local core = require("naq.core")
local support = require("spec.support")

describe("a connection", function()
  local at = support.connected.plain()
  local conn, server
  setup(function() conn, server = at:begin({ jetstream = false }) end)
  teardown(function() at:finish() end)

  -- A service on a connection of its own, answered from within dispatch(): the asking happens in `ask`.
  local function answering(answer, ask)
    local subject = support.fresh_name()
    local program = ([[
      local naq = require("naq")
      local conn = assert(naq.connection({ servers = %q }))
      local sub = assert(conn:subscribe(%q, function(m) %s end))
      conn:publish(%q, "ready")
      while true do assert(conn:dispatch(10)) end
    ]]):format(server.url, subject, answer, subject .. ".ready")
    local ready = assert(conn:subscribe(subject .. ".ready"))
    local dir = assert(core.mkdtemp("naq-spec-service"))
    local f = assert(io.open(dir .. "/service.lua", "w"))
    f:write(program)
    f:close()
    local pid = assert(core.spawn({ "lua5.4", dir .. "/service.lua" }, {
      stdout = dir .. "/out",
      stderr = dir .. "/out",
      die_with_parent = true,
      env = { LUA_PATH = support.lua_path, LUA_CPATH = support.lua_cpath, LD_PRELOAD = support.preload },
    }))
    local up, why = ready:next(20)
    ready:close()
    local ok, err = true, nil
    if up then ok, err = pcall(ask, subject) end
    core.kill(pid, "KILL")
    core.wait(pid, 5)
    core.rmtree(dir)
    assert(up, why)
    if not ok then error(err, 0) end
  end

  it("carries any bytes, and none", function()
    local subject = support.fresh_name()
    local sub = assert(conn:subscribe(subject))
    local bytes = {}
    for i = 0, 255 do
      bytes[#bytes + 1] = string.char(i)
    end
    for _, data in ipairs({ table.concat(bytes), "", "\0", ("x"):rep(100000) }) do
      assert.is_true(conn:publish(subject, data))
      assert.equal(data, assert(sub:next(5)).data)
    end
    assert.is_true(conn:publish(subject)) -- none given
    assert.equal("", assert(sub:next(5)).data)
    sub:close()
  end)

  it("carries headers, one value or many, their case kept", function()
    local subject = support.fresh_name()
    local sub = assert(conn:subscribe(subject))
    local headers = { traceparent = "00-1", Traceparent = "00-2", Many = { "a", "b", "c" } }
    assert(conn:publish(subject, "x", headers))
    assert.same(headers, assert(sub:next(5)).headers)
    assert(conn:publish(subject, "x"))
    assert.same({}, assert(sub:next(5)).headers)
    sub:close()
  end)

  it("refuses what would break the protocol", function()
    local sub = assert(conn:subscribe(">"))
    for _, subject in ipairs({ "", "a b", "a..b", ".a", "a.", "a\r\nPUB x 0\r\n", "a.*", "a.>", "a\0b" }) do
      local done, why, code = conn:publish(subject, "x")
      assert.is_nil(done)
      assert.equal("INVALID", code, subject)
      assert.is_string(why)
      assert.equal("INVALID", select(3, conn:request(subject, "x", 1)))
    end
    for _, headers in ipairs({
      { ["a b"] = "x" },
      { ["a:b"] = "x" },
      { a = "x\r\ny" },
      { a = { "x", "\n" } },
      { [""] = "x" },
      { a = "" },
    }) do
      assert.equal("INVALID", select(3, conn:publish("a", "x", headers)))
    end
    assert.equal("TIMEOUT", select(3, sub:next(0.05))) -- nothing of it was sent
    sub:close()
  end)

  it("raises for what is no subject, data or headers", function()
    assert.has_error(function() conn:publish(1, "x") end)
    assert.has_error(function() conn:publish("a", {}) end)
    assert.has_error(function() conn:publish("a", "x", "h") end)
    assert.has_error(function() conn:publish("a", "x", { 1 }) end)
    assert.has_error(function() conn:publish("a", "x", { a = {} , b = { 1 } }) end)
    assert.has_error(function() conn:request("a", "x", 0) end)
  end)

  it("answers TOO_LARGE for more than the server takes", function()
    assert.equal("TOO_LARGE", select(3, conn:publish("a", ("x"):rep(1100000))))
  end)

  it("asks and gets the answer with its headers", function()
    answering("m:respond(m.data .. '!', { Echo = m.headers.Ask, Two = { '1', '2' } })", function(subject)
      local data, headers = conn:request(subject, "a\0b", 5, { Ask = "yes" })
      assert.equal("a\0b!", data)
      assert.same({ Echo = "yes", Two = { "1", "2" } }, headers)
      data = conn:request(subject, nil, 5)
      assert.equal("!", data)
    end)
  end)

  it("tells nobody there from nobody answering", function()
    local begin = core.mono()
    local data, why, code = conn:request("nobody.there", "x", 5)
    assert.is_nil(data)
    assert.equal("CONNECTION", code)
    assert.matches("nobody answers nobody.there", why, 1, true)
    assert.is_true(core.mono() - begin < 2)
    local mute = assert(conn:subscribe("mute"))
    data, why, code = conn:request("mute", "x", 0.1)
    assert.is_nil(data)
    assert.equal("TIMEOUT", code)
    assert.matches("mute", why)
    mute:close()
  end)

  it("answers INVALID to an answer that nobody waits for", function()
    local sub = assert(conn:subscribe("plain"))
    conn:publish("plain", "x")
    local m = assert(sub:next(5))
    assert.is_nil(m.reply)
    assert.equal("INVALID", select(3, m:respond("y")))
    assert.equal("INVALID", select(3, m:ack()))
    assert.equal("INVALID", select(3, m:in_progress()))
    sub:close()
  end)
end)
