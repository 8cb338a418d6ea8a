-- The keys of a bucket: values, revisions, deletions, history, listings.

local core = require("naq.core")
local support = require("spec.support")
local eventually = support.eventually

describe("a key", function()
  local at = support.connected.plain()
  local conn, server, kv

  setup(function()
    conn, server = at:begin()
    kv = assert(at.js:kv("keys", { history = 5 }))
  end)
  teardown(function() at:finish() end)

  -- The two ways a value may be read.
  local function each_way(check)
    for _, direct in ipairs({ true, false }) do
      kv.direct = direct
      check()
    end
    kv.direct = true
  end

  it("is read directly where there is one replica", function()
    assert.is_true(kv.direct)
    assert.is_false(assert(conn:jetstream():kv("keys", { direct = false })).direct)
  end)

  it("keeps any bytes, none at all, and a megabyte of them", function()
    local every = {}
    for byte = 0, 255 do
      every[#every + 1] = string.char(byte)
    end
    local values = { "", "\0", "a\0b\r\n\0", table.concat(every), ("\0\255"):rep(524288 - 64) }
    for i, value in ipairs(values) do
      local key = ("bytes.%d"):format(i)
      local revision = assert(kv:put(key, value))
      each_way(function()
        local got, found = kv:get(key)
        assert.is_true(got == value)
        assert.equal(revision, found)
      end)
      assert.is_true(assert(kv:history(key))[1].value == value)
    end
  end)

  it("is read as it was last written, by whoever wrote it", function()
    local other = server:connection()
    local theirs = assert(other:jetstream():kv("keys"))
    each_way(function()
      for i = 1, 200 do
        assert((i % 2 == 0 and kv or theirs):put("turns", tostring(i)))
        assert.equal(tostring(i), (kv:get("turns")))
        assert.equal(tostring(i), (theirs:get("turns")))
      end
    end)
    other:close()
  end)

  it("that is not there is KEY_NOT_FOUND", function()
    each_way(function()
      local value, message, code = kv:get("never")
      assert.is_nil(value)
      assert.equal("key never of bucket keys: not there", message)
      assert.equal("KEY_NOT_FOUND", code)
    end)
  end)

  it("is created once, and again after it was deleted or purged", function()
    local key = support.fresh_name()
    assert(kv:create(key, "1"))
    assert.equal("KEY_EXISTS", select(3, kv:create(key, "2")))
    assert(kv:delete(key))
    each_way(function() assert.equal("KEY_NOT_FOUND", select(3, kv:get(key))) end)
    assert(kv:create(key, "3"))
    assert(kv:purge(key))
    each_way(function() assert.equal("KEY_NOT_FOUND", select(3, kv:get(key))) end)
    local revision = assert(kv:create(key, "4"))
    assert.same({ "4", revision }, { kv:get(key) })
  end)

  it("is updated only at the revision that was read", function()
    local key = support.fresh_name()
    local first = assert(kv:update(key, "a", 0)) -- never written
    assert.equal("WRONG_REVISION", select(3, kv:update(key, "b", 0)))
    local second = assert(kv:update(key, "b", first))
    local revision, message, code = kv:update(key, "c", first)
    assert.is_nil(revision)
    assert.equal("WRONG_REVISION", code)
    assert.truthy(message:find(key, 1, true))
    assert.same({ "b", second }, { kv:get(key) })
  end)

  it("is updated by one of many that read the same revision", function()
    local key = support.fresh_name()
    assert(kv:put(key, "0"))
    local others = {}
    for i = 1, 8 do
      others[i] = server:connection()
    end
    for _ = 1, 20 do
      local value, revision = kv:get(key)
      local won = 0
      for i = 1, 8 do
        local theirs = assert(others[i]:jetstream():kv("keys"))
        if theirs:update(key, tostring(value + 1), revision) then won = won + 1 end
      end
      assert.equal(1, won)
    end
    assert.equal("20", (kv:get(key)))
    for i = 1, 8 do
      others[i]:close()
    end
  end)

  it("is deleted and purged under a condition, too", function()
    for _, method in ipairs({ "delete", "purge" }) do
      local key = support.fresh_name()
      local first = assert(kv:put(key, "a"))
      local second = assert(kv:put(key, "b"))
      assert.equal("WRONG_REVISION", select(3, kv[method](kv, key, { revision = first })))
      assert.equal("b", (kv:get(key)))
      assert.is_true(kv[method](kv, key, { revision = second }))
      assert.equal("KEY_NOT_FOUND", select(3, kv:get(key)))
    end
    assert.is_true(kv:delete("never.written"))
  end)

  it("has a history, which a purge ends", function()
    local key = support.fresh_name()
    local revisions = {}
    for i = 1, 4 do
      revisions[i] = assert(kv:put(key, "v" .. i))
    end
    assert(kv:delete(key))
    local entries = assert(kv:history(key))
    assert.equal(5, #entries)
    for i = 1, 4 do
      local e = entries[i]
      assert.same({ "put", key, "v" .. i, revisions[i] }, { e.operation, e.key, e.value, e.revision })
      assert.is_true(math.abs(e.created - core.now()) < 60)
    end
    assert.same({ "delete" }, { entries[5].operation, entries[5].value })
    assert(kv:purge(key))
    entries = assert(kv:history(key))
    assert.same({ 1, "purge" }, { #entries, entries[1].operation })
    assert.equal("KEY_NOT_FOUND", select(3, kv:history("never")))
    assert.equal("INVALID", select(3, kv:history("never.>")))
  end)

  it("may have 1,024 bytes", function()
    local key = ("k"):rep(1024)
    assert(kv:put(key, "long"))
    each_way(function() assert.equal("long", (kv:get(key))) end)
    assert.equal(key, assert(kv:keys(key))[1])
    assert(kv:purge(key))
  end)

  it("is refused where it is none", function()
    local bad = { "", " ", "a b", "a.*", ">", "*", ".a", "a.", "a..b", 'x"y', "ä", "a\0b", "a\nb", ("k"):rep(1025) }
    for _, key in ipairs(bad) do
      for _, call in ipairs({ "get", "put", "create", "delete", "purge" }) do
        local got, message, code = kv[call](kv, key, (call == "put" or call == "create") and "v" or nil)
        assert.is_nil(got)
        assert.equal("INVALID", code, call .. " " .. key)
        assert.truthy(message:find("no key", 1, true))
      end
      assert.equal("INVALID", select(3, kv:update(key, "v", 1)))
    end
    for _, filter in ipairs({ "", "a b", "a.>.b", "a*", ".>", "a\0" }) do
      assert.equal("INVALID", select(3, kv:keys(filter)), filter)
      assert.equal("INVALID", select(3, kv:watch(filter)), filter)
    end
  end)

  it("raises at the caller's line for what can never be right", function()
    local misuse = {
      { "get" },
      { "get", 1 },
      { "put", "k" },
      { "put", "k", 5 },
      { "create", "k", {} },
      { "update", "k", "v" },
      { "update", "k", "v", -1 },
      { "update", "k", "v", 1.5 },
      { "delete", "k", 7 },
      { "delete", "k", { revison = 7 } },
      { "purge", "k", { revision = "x" } },
      { "keys", 1 },
      { "watch", 1 },
      { "watch", "k", { histori = true } },
    }
    for _, case in ipairs(misuse) do
      local ok, message = pcall(function()
        local got = kv[case[1]](kv, case[2], case[3], case[4])
        return got
      end)
      assert.is_false(ok, case[1])
      assert.matches("kv_keys_spec.lua:%d+: ", message)
    end
  end)

  it("is refused when its value is larger than the server takes", function()
    local _, message, code = kv:put("big", ("x"):rep(1100000))
    assert.equal("TOO_LARGE", code)
    assert.truthy(message:find("1100000 bytes", 1, true), message)
  end)

  it("works from a coroutine", function()
    local value = coroutine.wrap(function()
      assert(kv:put("co", "routine"))
      return (kv:get("co"))
    end)()
    assert.equal("routine", value)
  end)
end)

describe("a bucket of 100,000 keys", function()
  local at = support.connected.plain()
  local conn, kv
  local N = 100000

  setup(function()
    conn = at:begin()
    kv = assert(at.js:kv("large", { history = 3 }))
    for i = 1, N do
      conn:publish(("$KV.large.k.%d.%d"):format(i % 10, i), "value " .. i)
    end
    eventually(function() return kv:get("k.0." .. N) end, 60, "the last write")
    assert(kv:put("k.1.1", "again"))
    assert(kv:delete("k.7.7"))
    assert(kv:purge("k.8.8"))
  end)
  teardown(function() at:finish() end)

  local function consumers()
    local info = assert(core.decode(assert(conn:request("$JS.API.STREAM.INFO.KV_large"))))
    return info.state.consumer_count
  end

  local function gone() return consumers() == 0, consumers() end

  it("lists them, without the deleted ones", function()
    local begin = core.mono()
    local keys = assert(kv:keys())
    assert.is_true(core.mono() - begin < 10)
    assert.equal(N - 2, #keys)
    local seen = {}
    for _, key in ipairs(keys) do
      seen[key] = true
    end
    for i = 1, N do
      local key = ("k.%d.%d"):format(i % 10, i)
      if (seen[key] == nil) ~= (i == 7 or i == 8) then error(key) end
    end
    assert.equal("k.1.1", keys[#keys]) -- the last one written
    eventually(gone, 5, "the consumer to be removed")
  end)

  it("lists those that match", function()
    assert.equal(N / 10 - 1, #assert(kv:keys("k.7.*")))
    assert.equal(N / 10, #assert(kv:keys("k.3.>")))
    assert.same({ "k.5.15" }, kv:keys("k.*.15"))
    assert.same({}, kv:keys("none.>"))
  end)

  it("iterates over keys, values and revisions", function()
    local n, begin = 0, core.mono()
    for key, value, revision in assert(kv:each()) do
      n = n + 1
      if n <= 100 then
        local i = key:match("%d+$")
        assert.same({ "value " .. i, tonumber(i) }, { value, revision })
      end
    end
    assert.equal(N - 2, n)
    assert.is_true(core.mono() - begin < 10)
    local got = {}
    for key, value in assert(kv:each("k.*.1")) do
      got[key] = value
    end
    assert.same({ ["k.1.1"] = "again" }, got)
    eventually(gone, 5, "the consumers to be removed")
  end)

  it("leaves no consumer behind where an iteration is left early", function()
    for _ = 1, 3 do
      for key in assert(kv:each()) do
        if key then break end
      end
      pcall(function()
        for _ in assert(kv:each()) do
          error("away")
        end
      end)
    end
    collectgarbage()
    eventually(gone, 15, "the consumers to be removed")
  end)

  it("tells the history of one key, and of all", function()
    local begin = core.mono()
    local entries = assert(kv:history("k.1.1"))
    assert.is_true(core.mono() - begin < 2)
    assert.same({ "value 1", "again" }, { entries[1].value, entries[2].value })
    local watcher = assert(kv:watch(">", { history = true, headers_only = true }))
    local n = 0
    for event in watcher:each(10) do
      if event.operation == "up_to_date" then break end
      n = n + 1
    end
    watcher:stop()
    assert.equal(N + 2, n) -- "again" and one mark; the purge took what was before it
    eventually(gone, 5, "the consumers to be removed")
  end)
end)
