-- What Lua can hold of a connection: closed twice, used after, collected in any order and at any moment, in
-- coroutines. The program runs on every interpreter, each collecting as eagerly as it can.
local core = require("naq.core")
local naq = require("naq")
local interpreters = require("spec.support.interpreters")
local support = require("spec.support")
local nats = support.nats

describe("a handle", function()
  local server, conn, js
  setup(function()
    server = nats.start()
    conn = assert(naq.connection({ servers = server.url }))
    js = conn:jetstream()
    assert(js:add_stream("S", { subjects = { "s.>" } }))
  end)
  teardown(function()
    conn:close()
    server:stop()
  end)

  it("is closed twice without harm, and raises at its user's line when it is used after", function()
    local mine = assert(naq.connection({ servers = server.url }))
    local sub = assert(mine:subscribe("a"))
    local pull = assert(mine:jetstream():pull_subscribe("s.>"))
    local called = assert(mine:subscribe("b", function() end))
    for _, object in ipairs({ sub, pull, called, mine }) do
      object:close()
      object:close()
    end
    for _, use in ipairs({
      function() sub:next(0) end,
      function() sub:drain() end,
      function() sub:stats() end,
      function() sub:messages() end,
      function() sub:unsubscribe(3) end,
      function() pull:fetch(1) end,
      function() pull:next(0) end,
      function() pull:messages() end,
      function() mine:subscribe("a") end,
      function() mine:dispatch() end,
      function() mine:publish("a", "x") end,
    }) do
      local ok, why = pcall(use)
      assert.is_false(ok)
      assert.matches("handles_spec.lua:%d+: this %w+ is closed", why)
    end
    assert.is_true(sub:unsubscribe()) -- ends it, as it is
  end)

  it("is collected in time when a program forgets it, with the messages that wait in it", function()
    local mine = assert(naq.connection({ servers = server.url, client_name = "forgetful" }))
    local data = ("x"):rep(10000)
    local function memory()
      local f = assert(io.open("/proc/self/status"))
      local kb = tonumber(f:read("*a"):match("VmRSS:%s*(%d+)"))
      f:close()
      return kb
    end
    collectgarbage()
    local before, most = memory(), 0
    for _ = 1, 1500 do
      assert(mine:subscribe("forgotten"))
      for _ = 1, 3 do
        mine:publish("forgotten", data)
      end
      assert(mine:flush())
      most = math.max(most, memory() - before)
    end
    mine:close()
    -- More than a gigabyte, when the collector does not know what it holds.
    if not support.preload then assert.is_true(most < 400000, most .. " KB") end
  end)

  it("ends with the connection handle it came from, and with no other", function()
    local mine = assert(naq.connection({ servers = server.url }))
    local sub, other = assert(mine:subscribe("a")), assert(conn:subscribe("a"))
    local pull = assert(mine:jetstream():pull_subscribe("s.>", "d"))
    mine:close()
    assert.is_true(sub.closed)
    assert.is_true(pull.closed)
    conn:publish("a", "x")
    assert.equal("x", assert(other:next(5)).data)
    other:close()
  end)

  it("goes on when the connection handle is collected before it", function()
    local mine = assert(naq.connection({ servers = server.url }))
    local raw = assert(mine.core:subscribe("g"))
    mine.core:close()
    mine = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    conn:publish("g", "x")
    assert.equal("x", assert(raw:next(5)).data)
    raw:close()
  end)

  it("acks a message after its subscription was closed, not after the connection was", function()
    local mine = assert(naq.connection({ servers = server.url }))
    local own = mine:jetstream()
    assert(own:publish("s.1", "x"))
    assert(own:publish("s.1", "y"))
    local pull = assert(own:pull_subscribe("s.1", "acker"))
    local list = assert(pull:fetch(2))
    pull:close()
    assert.is_true(list[1]:ack_sync())
    mine:close()
    local ok, why = pcall(function() list[2]:ack() end)
    assert.is_false(ok)
    assert.matches("closed", why)
  end)

  it("keeps its metatable to itself", function()
    assert.is_string(getmetatable(conn.core))
    local sub = assert(conn:subscribe("m"))
    assert.is_string(getmetatable(sub.core))
    assert.has_error(function() sub.core.next(conn.core) end) -- one handle is not another
    assert.has_error(function() conn.core.publish(sub.core, "a", "b") end)
    sub:close()
  end)

  it("with a function is held until it ends, and no longer", function()
    local mine = assert(naq.connection({ servers = server.url }))
    local held = setmetatable({}, { __mode = "k" })
    for _ = 1, 50 do
      local sub = assert(mine:subscribe("held", function() end))
      held[sub] = true
      sub:close()
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(held))
    held[assert(mine:subscribe("held", function() end))] = true
    collectgarbage()
    collectgarbage()
    assert.is_not_nil(next(held))
    mine:close()
  end)

  it("does not keep the server busy when it is collected", function()
    for _ = 1, 200 do
      assert(conn:subscribe("leak." .. support.fresh_name()))
    end
    collectgarbage()
    collectgarbage()
    assert(conn:subscribe("after")):close() -- frees what finalizers left
    local answer = assert(conn:flush(5))
    assert.is_true(answer)
  end)
end)

local PROGRAM = [[
local naq = require("naq")
if _VERSION == "Lua 5.4" then
  collectgarbage("generational")
  collectgarbage("incremental", 100, 400) -- never pauses
end
collectgarbage("setpause", 0)
collectgarbage("setstepmul", 1000)

local conn = assert(naq.connection())
local js = conn:jetstream()
assert(js:ensure_stream("EAGER", { subjects = { "e.>" }, storage = "memory" }))

local function order(which)
  local c = assert(naq.connection())
  local sub = assert(c:subscribe("x." .. which))
  local got = 0
  local called = assert(c:subscribe("x." .. which, function() got = got + 1 end))
  local pull = assert(c:jetstream():pull_subscribe("e.a", "eager"))
  assert(c:publish("x." .. which, "data\0more", { A = { "1", "2" } }))
  assert(c:jetstream():publish("e.a", "x", { headers = { B = "3" } }))
  c:jetstream():publish_async("e.b", "y")
  local m = assert(sub:next(5))
  assert(m.data == "data\0more" and m.headers.A[2] == "2")
  while got == 0 do assert(c:dispatch(1)) end
  local list = assert(pull:fetch(10))
  assert(#list >= 1 and list[1].headers.B == "3")
  for _, one in ipairs(list) do assert(one:ack()) end
  if which % 5 == 0 then
    c:close()
  elseif which % 5 == 1 then
    sub:close()
    called:close()
    pull:close()
    c:close()
  elseif which % 5 == 2 then
    c = nil
    collectgarbage()
    sub:close()
  elseif which % 5 == 3 then
    sub, called, pull = nil, nil, nil
    collectgarbage()
    c:close()
  end -- else: everything is left to the collector
  collectgarbage("step")
end

for which = 1, 25 do
  if which % 2 == 0 then
    order(which)
  else
    local co = coroutine.wrap(function()
      order(which)
      coroutine.yield()
    end)
    co()
  end
end
collectgarbage()
local info = assert(js:stream_info("EAGER"))
local big = assert(js:add_stream("BIG", { subjects = { "big" }, max_age = 86400 * 1000, storage = "memory" }))
assert(big.config.max_age == 86400 * 1000, big.config.max_age)
big = assert(js:update_stream("BIG", { max_msgs = 5 }))
assert(big.config.max_age == 86400 * 1000 and big.config.max_msgs == 5)
assert(js:delete_stream("BIG"))
local seq = assert(js:publish("e.z", "direct"))
assert(assert(js:get_msg("EAGER", seq)).data == "direct")
io.write("fine ", info.config.name)
-- the connection is left open: the state closes with handles in it
]]

describe("the collector at its most eager", function()
  local server, folder
  setup(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-eager"))
    local f = assert(io.open(folder .. "/program.lua", "wb"))
    f:write(PROGRAM)
    f:close()
  end)
  teardown(function()
    server:stop()
    core.rmtree(folder)
  end)

  for _, one in ipairs(interpreters.LIST) do
    it("loses nothing and breaks nothing in " .. one[1], function()
      local status, text = interpreters.run(one, { folder .. "/program.lua" }, folder .. "/" .. one[1], server.url, 120)
      assert.equal("fine EAGER", text)
      assert.equal(0, status)
    end)
  end
end)
