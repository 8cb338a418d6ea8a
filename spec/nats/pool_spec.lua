local support = require("spec.support")
local core = require("naq.core")
local nats = support.nats

describe("core.connect()", function()
  local server
  setup(function() server = nats.start() end)
  teardown(function() server:stop() end)

  it("tells what it is connected to", function()
    local conn = server:connect()
    local info = assert(conn:info())
    assert.equal(server.url, info.url)
    assert.equal(server.name, info.server_name)
    assert.truthy(info.version:match("^%d+%.%d+%.%d+"))
    assert.equal(1048576, info.max_payload)
    assert.is_true(info.rtt > 0 and info.rtt < 5)
    assert.is_nil(info.cluster)
    conn:close()
  end)

  -- The idle connection is found dead on the way, and no other can be had: nothing must be left in the
  -- handle that never was one, for the collector to give back once more.
  it("fails without harm where an idle connection's server is gone", function()
    local mortal = nats.start()
    for _ = 1, 5 do
      mortal:connect():close()
      mortal:kill()
      local conn, _, code = core.connect({ servers = { mortal.url }, connection_timeout = 0.5 })
      if conn then conn:close() end -- that the server is gone may not have been heard yet
      assert.equal(conn == nil, code == "CONNECTION")
      collectgarbage()
      collectgarbage()
      mortal:restart()
    end
    mortal:stop()
  end)

  it("shares one connection among handles, each closed by itself", function()
    local a, b = server:connect(), server:connect()
    a:close()
    a:close() -- twice is fine
    assert(b:info())
    b:close()
    assert.has_error(function() b:info() end)
  end)

  it("takes one URL or a list, and passes over servers that are not there", function()
    local dead = "nats://127.0.0.1:" .. core.free_port()
    local conn = assert(core.connect({ servers = { dead, server.url } }))
    assert.equal(server.url, assert(conn:info()).url)
    conn:close()
    assert(core.connect({ servers = server.url })):close()
  end)

  it("raises on options of a wrong type", function()
    assert.has_error(function() core.connect({ servers = 4222 }) end)
    assert.has_error(function() core.connect({ servers = { 4222 } }) end)
    assert.has_error(function() core.connect({ user = true }) end)
    assert.has_error(function() core.connect({ connection_timeout = -1 }) end)
    assert.has_error(function() core.connect({ tls = true }) end)
  end)

  it("names the server and CONNECTION when nothing listens", function()
    local url = "127.0.0.1:" .. core.free_port()
    local conn, err, code = core.connect({ servers = "nats://ada:secret@" .. url })
    assert.is_nil(conn)
    assert.equal("CONNECTION", code)
    assert.truthy(err:find("nats://" .. url, 1, true))
    assert.is_nil(err:find("secret", 1, true))
  end)

  it("gives up on a server that is mute, in time", function()
    local frozen = nats.start()
    frozen:freeze()
    local begin = core.mono()
    local conn, err, code = core.connect({ servers = frozen.url, connection_timeout = 0.3 })
    assert.is_nil(conn)
    assert.equal("TIMEOUT", code)
    assert.truthy(err:find(frozen.url, 1, true))
    assert.is_true(core.mono() - begin < 3)
    frozen:thaw()
    frozen:stop()
  end)

  it("carries on after the server came back", function()
    local own = nats.start()
    local conn = own:connect()
    assert(conn:info())
    own:kill()
    own:restart()
    support.eventually(function() return (conn:info()) end, 10, "the reconnect")
    conn:close()
    own:stop()
  end)
end)

describe("credentials", function()
  local server
  setup(function()
    server = nats.start({
      jetstream = true,
      config = {
        "accounts {",
        '  A { jetstream: enabled, users: [ { user: ada, password: "p@ss" },',
        '    { user: bob, password: b, permissions: { publish: ["foo"] } } ] }',
        "  B { users: [ { user: eve, password: e } ] }",
        "}",
      },
    })
  end)
  teardown(function() server:stop() end)

  it("that are refused answer AUTH without repeating them", function()
    for _, options in ipairs({
      { servers = server.url, user = "ada", password = "wrong-secret" },
      { servers = (server.url:gsub("//", "//ada:wrong-secret@")) },
      { servers = server.url },
    }) do
      local conn, err, code = core.connect(options)
      assert.is_nil(conn)
      assert.equal("AUTH", code)
      assert.truthy(err:find(server.url, 1, true))
      assert.is_nil(err:find("wrong%-secret"))
    end
  end)

  it("may stand in the URL, with an @ written as %40", function()
    local conn = assert(core.connect({ servers = (server.url:gsub("//", "//ada:p%%40ss@")) }))
    assert.equal(server.url, assert(conn:info()).url)
    conn:close()
  end)

  it("without JetStream answer NO_JETSTREAM, naming the server", function()
    local conn = server:connect({ user = "eve", password = "e" })
    local layout, err, code = conn:ensure_layout()
    assert.is_nil(layout)
    assert.equal("NO_JETSTREAM", code)
    assert.truthy(err:find(server.url, 1, true))
    conn:close()
  end)

  it("without the right answer PERMISSION, long before the timeout", function()
    local conn = server:connect({ user = "bob", password = "b" })
    local begin = core.mono()
    local layout, err, code = conn:ensure_layout()
    assert.is_nil(layout)
    assert.equal("PERMISSION", code)
    assert.truthy(err:find("STREAM.INFO", 1, true))
    assert.is_true(core.mono() - begin < 3)
    conn:close()
  end)
end)

describe("conn:request()", function()
  local server, conn
  setup(function()
    server = nats.start()
    conn = server:connect()
  end)
  teardown(function()
    conn:close()
    server:stop()
  end)

  it("answers data and headers", function()
    local data, headers = conn:request("$JS.API.INFO", "", 5)
    assert.is_table(core.decode(data))
    assert.same({}, headers)
  end)

  it("tells that nobody is there", function()
    local data, err, code = conn:request("nobody.there", "x", 5)
    assert.is_nil(data)
    assert.equal("CONNECTION", code)
    assert.truthy(err:find("nobody.there", 1, true))
    assert.same({}, conn:request_many("nobody.there", "x", 3, 5))
  end)
end)
