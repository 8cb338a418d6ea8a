-- kv:watch() through restarts, freezes and the end of its server.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local watching = require("spec.support.watching")
local eventually, told, take = support.eventually, watching.told, watching.take

describe("a watcher whose server", function()
  local at = support.connected.plain()
  local conn, server, kv, watcher

  before_each(function()
    conn, server = at:begin()
    kv = assert(at.js:kv("settings"))
  end)

  after_each(function()
    watcher:stop()
    at:finish()
  end)

  -- Another connection: the watcher's own may still be waiting to reconnect.
  local function write(from, to)
    local other = server:connection()
    local theirs = assert(other:jetstream():kv("settings", { create = false }))
    for i = from, to do
      assert(theirs:put("k" .. i, tostring(i)))
    end
    other:close()
  end

  local function expected(from, to)
    local list = {}
    for i = from, to do
      list[#list + 1] = ("put k%d=%d"):format(i, i)
    end
    return list
  end

  it("restarts goes on behind what it saw", function()
    write(1, 10)
    watcher = assert(kv:watch())
    take(watcher, 11)
    for round = 1, 3 do
      write(round * 10 + 1, round * 10 + 5)
      if round == 2 then server:kill() end
      server:restart()
      write(round * 10 + 6, round * 10 + 10)
      assert.same(expected(round * 10 + 1, round * 10 + 10), take(watcher, 10, 20))
    end
    assert.equal("TIMEOUT", select(3, watcher:next(0.2)))
  end)

  it("restarts while it tells what stands there goes on, too", function()
    for i = 1, 30000 do
      conn:publish("$KV.settings.k" .. i, tostring(i))
    end
    eventually(function() return kv:get("k30000") end, 20, "the last write")
    watcher = assert(kv:watch())
    local list = take(watcher, 100)
    server:restart()
    for i = 101, 30001 do
      list[i] = take(watcher, 1, 20)[1]
    end
    assert.equal("up_to_date", table.remove(list))
    assert.same(expected(1, 30000), list)
  end)

  it("is away for longer than it waits says TIMEOUT, and nothing is lost", function()
    watcher = assert(kv:watch(nil, { updates_only = true }))
    server:halt()
    for _ = 1, 3 do
      local begin = core.mono()
      assert.equal("TIMEOUT", select(3, watcher:next(0.3)))
      assert.is_true(core.mono() - begin < 2)
    end
    server:restart()
    write(1, 5)
    assert.same(expected(1, 5), take(watcher, 5, 20))
  end)

  it("is frozen goes on when it thaws", function()
    watcher = assert(kv:watch())
    assert.equal("up_to_date", told(watcher:next(1)))
    server:freeze()
    assert.equal("TIMEOUT", select(3, watcher:next(0.3)))
    server:thaw()
    write(1, 5)
    assert.same(expected(1, 5), take(watcher, 5, 20))
  end)

  it("loses a bucket in memory begins anew when there is one again", function()
    local memory = assert(conn:jetstream():kv("memory", { storage = "memory" }))
    assert(memory:put("a", "1"))
    watcher = assert(memory:watch())
    take(watcher, 2)
    server:restart()
    local code
    repeat
      code = select(3, watcher:next(5))
    until code ~= "TIMEOUT"
    assert.equal("CONFIGURATION", code)
    memory = assert(conn:jetstream():kv("memory", { storage = "memory" }))
    assert(memory:put("b", "2"))
    assert.same({ "reset", "put b=2", "up_to_date" }, take(watcher, 3, 20))
  end)

  it("is no longer spoken to by this process answers CLOSED", function()
    watcher = assert(kv:watch())
    naq.close_connections(server.url)
    assert.equal("CLOSED", select(3, watcher:next(1)))
    assert.equal("CLOSED", select(3, kv:watch()))
    assert.equal("CLOSED", select(3, kv:get("k")))
    local iterator, message, code = kv:each()
    assert.is_nil(iterator)
    assert.equal("CLOSED", code, message)
  end)

  it("is gone may be collected without a wait", function()
    watcher = assert(kv:watch())
    local handle = conn.core:kv_watch("settings") -- luacheck: ignore
    server:halt()
    eventually(function() return select(3, watcher:next(0)) == "TIMEOUT" end)
    local begin = core.mono()
    handle = nil -- luacheck: ignore
    collectgarbage()
    assert.is_true(core.mono() - begin < 0.5)
  end)
end)
