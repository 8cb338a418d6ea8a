-- kv:watch(): what stands in a bucket and each change.

local core = require("naq.core")
local support = require("spec.support")
local watching = require("spec.support.watching")
local eventually, told, take = support.eventually, watching.told, watching.take

describe("a watcher", function()
  local at = support.connected.plain()
  local conn, server, js
  setup(function() conn, server, js = at:begin() end)
  teardown(function() at:finish() end)

  local function bucket(options) return assert(js:kv(support.fresh_name(), options)) end

  local function consumers(kv)
    local answer = assert(conn:request("$JS.API.STREAM.INFO.KV_" .. kv.name))
    return assert(core.decode(answer)).state.consumer_count
  end

  it("tells what stands there, that this was all, and then each change", function()
    local kv = bucket()
    assert(kv:put("a", "1"))
    assert(kv:put("b", "1"))
    assert(kv:put("a", "2"))
    assert(kv:delete("b"))
    local watcher = assert(kv:watch())
    assert.same({ "put a=2", "delete b", "up_to_date" }, take(watcher, 3))
    local revision = assert(kv:put("c", ""))
    local event = assert(watcher:next(2))
    assert.same({ "put", "c", "", revision }, { event.operation, event.key, event.value, event.revision })
    assert.is_true(math.abs(event.created - core.now()) < 60)
    assert(kv:purge("a"))
    assert(kv:delete("c"))
    assert.same({ "purge a", "delete c" }, take(watcher, 2))
    watcher:stop()
    eventually(function() return consumers(kv) == 0 end, 5, "the consumer to be removed")
  end)

  it("tells at once that an empty bucket is up to date", function()
    local watcher = assert(bucket():watch("k"))
    assert.equal("up_to_date", told(watcher:next(1)))
    watcher:stop()
  end)

  it("waits as long as it is told to", function()
    local watcher = assert(bucket():watch(nil, { updates_only = true }))
    for _, seconds in ipairs({ 0, 0.05, 0.6 }) do
      local begin = core.mono()
      local event, message, code = watcher:next(seconds)
      local took = core.mono() - begin
      assert.is_nil(event)
      assert.equal("TIMEOUT", code)
      assert.truthy(message:find(("nothing in %d ms"):format(seconds * 1000), 1, true), message)
      assert.is_true(took > seconds - 0.01 and took < seconds + 1, took)
    end
    assert.is_false(pcall(watcher.next, watcher, -1))
    assert.is_false(pcall(watcher.next, watcher, "1"))
    watcher:stop()
  end)

  it("sees what matches its filter only", function()
    local kv = bucket()
    for _, key in ipairs({ "a.1", "a.2", "b.1", "a.1.x" }) do
      assert(kv:put(key, "v"))
    end
    local some = assert(kv:watch("a.*"))
    assert.same({ "put a.1=v", "put a.2=v", "up_to_date" }, take(some, 3))
    local one = assert(kv:watch("a.1"))
    assert.same({ "put a.1=v", "up_to_date" }, take(one, 2))
    assert(kv:put("b.1", "w"))
    assert(kv:put("a.1", "w"))
    assert.same({ "put a.1=w" }, take(some, 1))
    assert.same({ "put a.1=w" }, take(one, 1))
    some:stop()
    one:stop()
  end)

  it("has options for history, updates alone, no deletions, no values", function()
    local kv = bucket({ history = 4 })
    assert(kv:put("a", "1"))
    assert(kv:put("b", "1"))
    assert(kv:put("a", "2"))
    assert(kv:delete("b"))
    local history = assert(kv:watch(">", { history = true }))
    assert.same({ "put a=1", "put b=1", "put a=2", "delete b", "up_to_date" }, take(history, 5))
    local live = assert(kv:watch(">", { ignore_deletes = true }))
    assert.same({ "put a=2", "up_to_date" }, take(live, 2))
    local updates = assert(kv:watch(">", { updates_only = true }))
    local bare = assert(kv:watch("a", { headers_only = true }))
    assert.same({ "put a=", "up_to_date" }, take(bare, 2))
    assert(kv:delete("a"))
    assert(kv:put("a", "3"))
    assert.same({ "delete a", "put a=3" }, take(history, 2))
    assert.same({ "put a=3" }, take(live, 1))
    assert.same({ "delete a", "put a=3" }, take(updates, 2))
    for _, watcher in ipairs({ history, live, updates, bare }) do
      watcher:stop()
    end
  end)

  it("iterates until nothing comes, and ends when it is stopped in the loop", function()
    local kv = bucket()
    for i = 1, 5 do
      assert(kv:put("k" .. i, "v"))
    end
    local watcher, n = assert(kv:watch()), 0
    for event in watcher:each(0.05) do
      if event.key then n = n + 1 end
    end
    assert.equal(5, n)
    assert(kv:put("k6", "v"))
    for event in watcher:each() do
      assert.equal("k6", event.key)
      watcher:stop()
    end
  end)

  it("calls a function for each event, on the thread that asks for it", function()
    local kv = bucket()
    assert(kv:put("a", "1"))
    local watcher, list = assert(kv:watch()), {}
    local function note(event) list[#list + 1] = told(event) end
    assert.equal(2, watcher:dispatch(0.05, note))
    assert(kv:put("b", "2"))
    assert(kv:put("c", "3"))
    assert.same({ "put a=1", "up_to_date" }, list) -- nothing behind our back
    for _ = 1, 2 do
      assert.equal(1, watcher:dispatch(5, function(event)
        note(event)
        return false
      end))
    end
    assert.same({ "put a=1", "up_to_date", "put b=2", "put c=3" }, list)
    assert.error_matches(
      function()
        kv:put("d", "4")
        watcher:dispatch(5, function() error("mine", 0) end)
      end,
      "mine"
    )
    assert(kv:put("e", "5"))
    assert.same({ "put e=5" }, take(watcher, 1))
    assert(kv:put("f", "6"))
    assert.equal(1, watcher:dispatch(5, function() watcher:stop() end))
    assert.is_false(pcall(watcher.dispatch, watcher, 1, note))
  end)

  it("keeps nothing back and loses nothing when nobody takes what it has", function()
    local kv = bucket()
    local watcher = assert(kv:watch())
    assert.equal("up_to_date", told(watcher:next(1)))
    local N, value = 60000, ("v"):rep(1000) -- 60 MB: flow control halts the server before that
    for i = 1, N do
      conn:publish(("$KV.%s.k%d"):format(kv.name, i), value)
    end
    eventually(function() return kv:get("k" .. N) end, 60, "the last write")
    for i = 1, N do
      local event, message = watcher:next(20)
      if not event then error(("event %d: %s"):format(i, message)) end
      if event.key ~= "k" .. i then error(("%s instead of k%d"):format(event.key, i)) end
    end
    assert.equal("TIMEOUT", select(3, watcher:next(0)))
    watcher:stop()
    assert(kv:destroy())
  end)

  -- By two heartbeats that stay out. All three wait for it at the same time.
  describe("finds out by itself", function()
    local lost, remade, gone, gone_name

    local function watched()
      local kv = assert(js:kv(support.fresh_name()))
      for i = 1, 5 do
        assert(kv:put("old" .. i, "v"))
      end
      local watcher = assert(kv:watch())
      take(watcher, 6)
      return watcher, kv
    end

    setup(function()
      local kv
      lost, kv = watched()
      local list = assert(core.decode(assert(conn:request("$JS.API.CONSUMER.LIST.KV_" .. kv.name))))
      local name = list.consumers[1].name
      assert(conn:request(("$JS.API.CONSUMER.DELETE.KV_%s.%s"):format(kv.name, name)))
      assert(kv:put("k", "v"))

      remade, kv = watched()
      assert(kv:destroy())
      assert(assert(js:kv(kv.name)):put("new", "v"))

      gone, kv = watched()
      gone_name = kv.name
      assert(kv:destroy())
    end)
    teardown(function()
      for _, watcher in ipairs({ lost, remade, gone }) do
        watcher:stop()
      end
    end)

    it(
      "that its consumer is gone, and goes on",
      function() assert.same({ "put k=v" }, take(lost, 1, 30)) end
    )

    it(
      "that its bucket was deleted and made again, and begins anew",
      function() assert.same({ "reset", "put new=v", "up_to_date" }, take(remade, 3, 30)) end
    )

    it("that its bucket was deleted", function()
      local event, message, code
      repeat
        event, message, code = gone:next(30)
      until code ~= "TIMEOUT"
      assert.is_nil(event)
      assert.equal("CONFIGURATION", code)
      assert.truthy(message:find(gone_name, 1, true), message)
    end)
  end)

  it("may be stopped twice, and raises when used after that", function()
    local watcher = assert(bucket():watch())
    watcher:stop()
    watcher:stop()
    for _, method in ipairs({ "next", "each", "dispatch" }) do
      local ok, message = pcall(function()
        local got = watcher[method](watcher, 1, print)
        return got
      end)
      assert.is_false(ok)
      assert.matches("kv_watch_spec.lua:%d+: this watcher is stopped", message)
    end
  end)

  it("ends with its connection", function()
    local c = server:connection()
    local watcher = assert(assert(c:jetstream():kv(support.fresh_name())):watch())
    c:close()
    assert.is_false(pcall(watcher.next, watcher, 1))
    watcher:stop()
  end)

  it("may be collected, before and after its connection, with an eager collector", function()
    collectgarbage("setpause", 50)
    collectgarbage("setstepmul", 1000)
    local name = support.fresh_name()
    assert(js:kv(name)):put("k", ("v"):rep(1000))
    for i = 1, 30 do
      local c = server:connection()
      local kv = assert(c:jetstream():kv(name))
      local watcher = assert(kv:watch())
      if i % 3 == 0 then watcher:next(1) end
      if i % 5 == 0 then watcher:stop() end
      local handle = c.core:kv_watch(name) -- the core's own, which closing the connection leaves open
      if i % 2 == 0 then c:close() end
      local begin = core.mono()
      c, kv, watcher = nil, nil, nil -- luacheck: ignore
      collectgarbage()
      assert.equal("put", assert(handle:next(2)).operation)
      if i % 4 == 0 then handle:close() end
      handle = nil -- luacheck: ignore
      collectgarbage()
      assert.is_true(core.mono() - begin < 2)
    end
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 100)
  end)

  it("works from a coroutine, and is taken over by another", function()
    local kv = bucket()
    local watcher
    coroutine.wrap(function()
      watcher = assert(kv:watch())
      assert.equal("up_to_date", told(watcher:next(1)))
    end)()
    assert(kv:put("k", "v"))
    local event = coroutine.wrap(function() return watcher:next(1) end)()
    assert.equal("put k=v", told(event))
    watcher:stop()
  end)
end)
