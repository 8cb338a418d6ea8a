-- js:kv(): buckets opened, created, compared, described and deleted.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local eventually, nats = support.eventually, support.nats

describe("a bucket opened with seconds", function()
  it("insists no longer than that while the server is away, and is well when it is back", function()
    local own = nats.start()
    local conn = assert(naq.connection({
      servers = own.url,
      ping_interval = 0.1,
      max_outstanding_pings = 1,
      connection_timeout = 3,
    }))
    local kv = assert(conn:jetstream():kv("hasty", { seconds = 0.4 }))
    local revision = assert(kv:put("k", "1"))
    local function all_give_up()
      for name, call in pairs({
        get = function() return kv:get("k") end,
        put = function() return kv:put("k", "2") end,
        create = function() return kv:create("k", "2") end,
        update = function() return kv:update("k", "2", revision) end,
        delete = function() return kv:delete("k") end,
        purge = function() return kv:purge("k") end,
      }) do
        local begin = core.mono()
        local value, message, code = call()
        local took = core.mono() - begin
        assert.is_nil(value)
        assert.truthy(code == "CONNECTION" or code == "TIMEOUT", code)
        assert.is_string(message)
        assert.is_true(took < 1, ("%s took %.2f s"):format(name, took))
      end
    end
    own:freeze() -- mute, and not known to be
    all_give_up()
    eventually(function() return conn:status() == "reconnecting" end, 10, "the loss to be noticed")
    all_give_up()
    own:thaw()
    eventually(function() return conn:flush(1) end, 10, "the reconnect")
    own:kill()
    all_give_up()
    own:restart()
    local patient = assert(conn:jetstream():kv("hasty"))
    assert(patient:put("k", "3")) -- what was sent to the mute server it may have done since
    assert.equal("3", (patient:get("k")))
    assert.has_error(function() conn:jetstream():kv("hasty", { seconds = 0 }) end)
    conn:close()
    own:stop()
  end)
end)

describe("js:kv()", function()
  local at = support.connected.plain()
  local conn, server, js
  setup(function() conn, server, js = at:begin() end)
  teardown(function() at:finish() end)

  local function config_of(name)
    return assert(core.decode(assert(conn:request("$JS.API.STREAM.INFO.KV_" .. name)))).config
  end

  it("creates a bucket that other clients' key-value APIs take for one", function()
    local name = support.fresh_name()
    local kv, differs = js:kv(name)
    assert.truthy(kv)
    assert.is_nil(differs)
    local config = config_of(name)
    assert.same({ ("$KV.%s.>"):format(name) }, { config.subjects[1] })
    assert.equal(1, config.max_msgs_per_subject)
    assert.equal("file", config.storage)
    assert.equal("new", config.discard)
    assert.is_true(config.allow_rollup_hdrs and config.deny_delete and config.allow_direct)
    assert.equal(120 * 1000000000, config.duplicate_window)
    assert.equal(0, config.max_age or 0)
  end)

  it("creates it with the options given", function()
    local name = support.fresh_name()
    local kv = assert(js:kv(name, {
      history = 7,
      ttl = 90.5,
      max_bytes = 1000000,
      max_value_size = 1000,
      storage = "memory",
      replicas = 1,
      description = "what it is for",
    }))
    local status = assert(kv:status())
    assert.same({
      bucket = name,
      values = 0,
      keys = 0,
      bytes = 0,
      history = 7,
      ttl = 90.5,
      max_bytes = 1000000,
      max_value_size = 1000,
      storage = "memory",
      replicas = 1,
      description = "what it is for",
    }, status)
    assert.equal(90500000000, config_of(name).duplicate_window)
  end)

  it("keeps a time to live of years", function()
    local name = support.fresh_name()
    local kv = assert(js:kv(name, { ttl = 3 * 365 * 86400 }))
    assert.equal(3 * 365 * 86400, assert(kv:status()).ttl)
    assert.is_nil(select(2, js:kv(name, { ttl = 3 * 365 * 86400 })))
    assert(js:kv(name .. "b", { ttl = 100 / 3 }))
    assert.is_nil(select(2, js:kv(name .. "b", { ttl = 100 / 3 })))
  end)

  it("opens one that exists, and tells how it differs from what was asked for", function()
    local name = support.fresh_name()
    assert(assert(js:kv(name, { history = 3, ttl = 60 })):put("k", "v"))
    local kv, differs = js:kv(name)
    assert.is_nil(differs) -- nothing was asked for
    assert.equal("v", (kv:get("k")))
    kv, differs = js:kv(name, { history = 3, ttl = 30, storage = "memory", max_bytes = 10 })
    assert.equal("v", (kv:get("k")))
    assert.same({
      "max_bytes: none found, 10 wanted",
      "storage: file found, memory wanted",
      "ttl: 60 found, 30 wanted",
    }, differs)
    assert.same(differs, kv.differs)
    assert.equal(60, assert(kv:status()).ttl)
  end)

  it("makes none with create = false", function()
    local name = support.fresh_name()
    local kv, message, code = js:kv(name, { create = false })
    assert.is_nil(kv)
    assert.equal(("bucket %s does not exist"):format(name), message)
    assert.equal("CONFIGURATION", code)
    assert(js:kv(name))
    assert(js:kv(name, { create = false }))
  end)

  it("refuses names, and raises for options, that are none", function()
    for _, bad in ipairs({ "", "a b", "a.b", "a*", "ä", ("x"):rep(97), "a\0b" }) do
      local kv, message, code = js:kv(bad)
      assert.is_nil(kv)
      assert.equal("INVALID", code)
      assert.truthy(message:find("no bucket name", 1, true))
    end
    local misuse = {
      { "x", { histroy = 2 }, "did you mean 'history'" },
      { "x", { history = 65 }, "at most 64" },
      { "x", { storage = "tape" }, "file, memory" },
      { 7, nil, "must be a string" },
    }
    for _, case in ipairs(misuse) do
      local ok, message = pcall(function()
        local kv = js:kv(case[1], case[2])
        return kv
      end)
      assert.is_false(ok)
      assert.matches("kv_bucket_spec.lua:%d+: .*" .. case[3], message)
    end
  end)

  it("says why the server makes none", function()
    local kv, message, code = js:kv(support.fresh_name(), { replicas = 3 })
    assert.is_nil(kv)
    assert.equal("CONFIGURATION", code)
    assert.truthy(message:find("replicas", 1, true), message)
  end)

  it("is deleted with all it holds", function()
    local name = support.fresh_name()
    local kv = assert(js:kv(name))
    assert(kv:put("k", "v"))
    assert.is_true(kv:destroy())
    for _, method in ipairs({ "get", "keys", "status", "destroy", "watch", "history" }) do
      local begin = core.mono()
      local got, message, code = kv[method](kv, method ~= "status" and "k" or nil)
      assert.is_nil(got)
      assert.equal("CONFIGURATION", code, method .. ": " .. tostring(message))
      assert.truthy(message:find(name, 1, true), message)
      assert.is_true(core.mono() - begin < 2)
    end
    assert.equal("CONFIGURATION", select(3, kv:put("k", "v")))
    assert.equal("KEY_NOT_FOUND", select(3, assert(js:kv(name)):get("k")))
  end)

  it("has js:list_kv() and js:delete_kv() beside it", function()
    local name = support.fresh_name()
    local function listed()
      for _, other in ipairs(assert(js:list_kv())) do
        if other == name then return true end
      end
      return false
    end
    assert.is_false(listed())
    assert(js:kv(name))
    assert.is_true(listed())
    assert.is_true(js:delete_kv(name))
    assert.is_false(listed())
    assert.equal("CONFIGURATION", select(3, js:delete_kv(name)))
    assert.equal("INVALID", select(3, js:delete_kv("a.b")))
  end)

  it("lets entries expire after its time to live, without an event", function()
    local kv = assert(js:kv(support.fresh_name(), { ttl = 0.5 }))
    local watcher = assert(kv:watch())
    assert.equal("up_to_date", assert(watcher:next(2)).operation)
    local revision = assert(kv:put("k", "v"))
    assert.equal("put", assert(watcher:next(2)).operation)
    assert.equal("v", (kv:get("k")))
    eventually(function() return select(3, kv:get("k")) == "KEY_NOT_FOUND" end, 5, "the entry to expire")
    assert.same({}, kv:keys())
    assert.equal("TIMEOUT", select(3, watcher:next(0)))
    -- An expired key is one that never was.
    assert.is_true(assert(kv:create("k", "w")) > revision)
    watcher:stop()
  end)

  it("refuses what does not fit into it", function()
    local kv = assert(js:kv(support.fresh_name(), { max_value_size = 1000, max_bytes = 5000 }))
    assert.equal("TOO_LARGE", select(3, kv:put("k", ("x"):rep(1001))))
    for i = 1, 4 do
      assert(kv:put("k" .. i, ("x"):rep(1000)))
    end
    local revision, message, code = kv:put("k5", ("x"):rep(1000))
    assert.is_nil(revision)
    assert.equal("STORAGE_FULL", code)
    assert.truthy(message:find("k5", 1, true), message)
    assert.equal(4, #kv:keys())
  end)

  it("is made once by two connections that ask at the same moment", function()
    local name = support.fresh_name()
    local program = ([[
      local naq = require("naq")
      local conn = assert(naq.connection({ servers = { %q } }))
      local kv = assert(conn:jetstream():kv(%q, { history = 2 }))
      assert(kv:put(arg[1], arg[1]))
      assert(kv:get(arg[1]) == arg[1])
      assert(not kv.differs)
    ]]):format(server.url, name)
    local dir = assert(core.mkdtemp("naq-spec-kv"))
    local f = assert(io.open(dir .. "/p.lua", "wb"))
    f:write(program)
    f:close()
    local pids = {}
    local env = { LUA_PATH = support.lua_path, LUA_CPATH = support.lua_cpath, LUA_PATH_5_4 = false }
    env.LD_PRELOAD = support.preload
    for i = 1, 4 do
      local argv = { "lua5.4", dir .. "/p.lua", "p" .. i }
      pids[i] = assert(core.spawn(argv, { env = env, die_with_parent = true }))
    end
    for i = 1, 4 do
      assert.same({ "exited", 0 }, { core.wait(pids[i], 30) })
    end
    core.rmtree(dir)
    assert.equal(4, #assert(assert(js:kv(name)):keys()))
  end)

  it("says that there is no JetStream", function()
    local plain = nats.start({ jetstream = false })
    local c = plain:connection()
    local kv, message, code = c:jetstream():kv("settings")
    assert.is_nil(kv)
    assert.equal("NO_JETSTREAM", code)
    assert.truthy(message:find(plain.url, 1, true), message)
    c:close()
    plain:stop()
  end)

  it("says which subject the user may not use, at once", function()
    local deny = '["$KV.locked.>", "$JS.API.DIRECT.GET.KV_hidden.>"]'
    local guarded = nats.start({
      config = {
        ('authorization { users: [ { user: ada, password: s, permissions: { publish: { deny: %s } } } ] }'):format(
          deny
        ),
      },
    })
    local c = assert(naq.connection({ servers = { guarded.url }, user = "ada", password = "s" }))
    local begin = core.mono()
    local locked = assert(c:jetstream():kv("locked"))
    for _, call in ipairs({ "put", "create", "delete", "purge" }) do
      local done, message, code = locked[call](locked, "k", (call == "put" or call == "create") and "v" or nil)
      assert.is_nil(done)
      assert.equal("PERMISSION", code, message)
      assert.truthy(message:find("$KV.locked.k", 1, true), message)
    end
    local hidden = assert(c:jetstream():kv("hidden"))
    assert(hidden:put("k", "v"))
    assert.equal("PERMISSION", select(3, hidden:get("k")))
    hidden.direct = false
    assert.equal("v", (hidden:get("k")))
    assert.is_true(core.mono() - begin < 4)
    c:close()
    guarded:stop()
  end)

  it("raises when the connection is closed", function()
    local c = server:connection()
    local kv = assert(c:jetstream():kv(support.fresh_name()))
    c:close()
    local calls = {
      { "get", "k" },
      { "put", "k", "v" },
      { "create", "k", "v" },
      { "update", "k", "v", 1 },
      { "delete", "k" },
      { "purge", "k" },
      { "keys" },
      { "each" },
      { "history", "k" },
      { "watch" },
      { "status" },
      { "destroy" },
    }
    for _, call in ipairs(calls) do
      local ok, message = pcall(function()
        return (kv[call[1]](kv, call[2], call[3], call[4]))
      end)
      assert.is_false(ok, call[1])
      assert.matches("kv_bucket_spec.lua:%d+: this connection is closed", message)
    end
  end)
end)
