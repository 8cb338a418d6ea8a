local support = require("spec.support")
local core = require("naq.core")
local nats = support.nats

describe("a bucket", function()
  local at = support.connected.laid_out()
  local conn
  local BUCKET = "naq_control"

  setup(function() conn = at:begin() end)
  teardown(function() at:finish() end)

  it("keeps any bytes under a key", function()
    local key, value = support.fresh_name(), "\0\1\255\r\n{}"
    local revision = assert(conn:kv_put(BUCKET, key, value))
    local got, found = conn:kv_get(BUCKET, key)
    assert.equal(value, got)
    assert.equal(revision, found)
    assert(conn:kv_put(BUCKET, key, ""))
    assert.equal("", (conn:kv_get(BUCKET, key)))
  end)

  it("answers KEY_NOT_FOUND for what was never written or is deleted", function()
    local key = support.fresh_name()
    assert.equal("KEY_NOT_FOUND", select(3, conn:kv_get(BUCKET, key)))
    assert(conn:kv_put(BUCKET, key, "x"))
    assert.is_true(conn:kv_delete(BUCKET, key))
    assert.equal("KEY_NOT_FOUND", select(3, conn:kv_get(BUCKET, key)))
  end)

  it("creates a key once, and again after its deletion", function()
    local key = support.fresh_name()
    assert(conn:kv_create(BUCKET, key, "first"))
    local revision, err, code = conn:kv_create(BUCKET, key, "second")
    assert.is_nil(revision)
    assert.equal("KEY_EXISTS", code)
    assert.truthy(err:find(key, 1, true))
    assert.equal("first", (conn:kv_get(BUCKET, key)))
    assert(conn:kv_delete(BUCKET, key))
    assert(conn:kv_create(BUCKET, key, "third"))
    assert.equal("third", (conn:kv_get(BUCKET, key)))
  end)

  it("updates only the revision that was read", function()
    local key = support.fresh_name()
    local first = assert(conn:kv_put(BUCKET, key, "a"))
    local second = assert(conn:kv_update(BUCKET, key, "b", first))
    assert.equal("WRONG_REVISION", select(3, conn:kv_update(BUCKET, key, "c", first)))
    assert(conn:kv_update(BUCKET, key, "d", second))
    assert.equal("d", (conn:kv_get(BUCKET, key)))
  end)

  it("refuses keys and buckets that are none", function()
    for _, bad in ipairs({ "", "a b", "a.*", ">", ".a", "a.", 'x"y' }) do
      assert.equal("INVALID", select(3, conn:kv_put(BUCKET, bad, "x")))
      assert.equal("INVALID", select(3, conn:kv_get(BUCKET, bad)))
    end
    assert.equal("INVALID", select(3, conn:kv_get("a.b", "k")))
  end)

  it("that does not exist is CONFIGURATION, at once", function()
    local begin = core.mono()
    assert.equal("CONFIGURATION", select(3, conn:kv_get("nowhere", "k")))
    assert.equal("CONFIGURATION", select(3, conn:kv_put("nowhere", "k", "v")))
    assert.equal("CONFIGURATION", select(3, conn:kv_entries("nowhere")))
    assert.is_true(core.mono() - begin < 2)
  end)

  it("refuses a value larger than the server takes", function()
    assert.equal("TOO_LARGE", select(3, conn:kv_put(BUCKET, "big", ("x"):rep(1100000))))
  end)

  it("lists 20,000 keys, filtered and without the deleted ones", function()
    for i = 1, 20000 do
      conn:publish("$KV.naq_flows.k." .. (i % 10) .. "." .. i, "value " .. i)
    end
    assert(conn:info())
    support.eventually(
      function() return conn:last_msg("KV_naq_flows", "$KV.naq_flows.k.0.20000") end,
      20,
      "the last write"
    )
    assert(conn:kv_delete("naq_flows", "k.7.7"))
    local all = assert(conn:kv_entries("naq_flows"))
    assert.equal(19999, #all)
    assert.same({ "k.1.1", "value 1" }, { all[1].key, all[1].value })
    assert.is_true(all[1].revision == 1 and math.abs(all[1].created - core.now()) < 600)
    local some = assert(conn:kv_entries("naq_flows", "k.7.*"))
    assert.equal(1999, #some)
    assert.same({}, conn:kv_entries("naq_flows", "none.*"))
    assert.same({}, conn:kv_entries("naq_unique"))
  end)

  it("is written and read through a crash of the server", function()
    local own = nats.start()
    local c = own:connect()
    assert(c:ensure_layout())
    local first = assert(c:kv_put(BUCKET, "k", "0"))
    local back = own:kill_meanwhile(0.05, 0.3)
    local revision, last, begin = first, "0", core.mono()
    while core.mono() - begin < 1.5 do
      last = tostring(core.mono())
      revision = assert(c:kv_update(BUCKET, "k", last, revision))
      local value, found = assert(c:kv_get(BUCKET, "k", true))
      assert.same({ last, revision }, { value, found })
    end
    back()
    assert.same({ last, revision }, { c:kv_get(BUCKET, "k") })
    c:close()
    own:stop()
  end)
end)
