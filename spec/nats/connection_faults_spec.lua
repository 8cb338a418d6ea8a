-- Connections under faults: a server that dies under load, one that falls silent, a process that forks.
local support = require("spec.support")
local core = require("naq.core")
local naq = require("naq")
local eventually, nats = support.eventually, support.nats

local function spread(...) return { n = select("#", ...), ... } end

describe("a connection", function()
  it("answers every call while its server is restarted under load, and is well soon after", function()
    local server = nats.start()
    local conn = assert(naq.connection({ servers = server.url }))
    assert(conn:subscribe("echo", function(m) conn:publish(m.reply, m.data) end))
    local back = server:kill_meanwhile(0.2, 0.5)
    local refused = {}
    local lost, returned, well
    local deadline = core.mono() + 20
    while not well and core.mono() < deadline do
      lost = lost or conn:status() == "reconnecting"
      if lost and not returned and core.port_open(server.port) then returned = core.mono() end
      for _, call in ipairs({
        function() return conn:publish("somewhere", ("x"):rep(1000)) end,
        function() return conn:flush(0.2) end,
        function() return conn:rtt(0.2) end,
        function() return conn:request("nobody.here", "", 0.2) end,
        function() return naq.with_connection(conn.config, function(other) return other:flush(0.2) end) end,
      }) do
        local got = spread(call())
        if got[1] == nil then
          assert.is_string(got[2])
          assert.is_string(naq.errors[got[3]])
          refused[got[3]] = (refused[got[3]] or 0) + 1
        end
      end
      if conn:stats().reconnects == 1 then well = conn:flush(1) and core.mono() end
    end
    back()
    assert.truthy(refused.CONNECTION)
    assert.truthy(well, "not reconnected")
    local took = well - (returned or well)
    assert.is_true(took < 2, took)
    assert.is_true(conn:health().ok)
    conn:close()
    naq.close_connections(server.url)
    server:stop()
  end)

  it("keeps its times when it tries to reconnect to a server that is mute", function()
    local server = nats.start()
    local conn = assert(naq.connection({
      servers = server.url,
      ping_interval = 0.1,
      max_outstanding_pings = 1,
      connection_timeout = 3,
    }))
    local same = { reused = naq.connection(conn.config), drained = naq.connection(conn.config) }
    local subs = {}
    for i = 1, 4 do
      subs[i] = assert(conn:subscribe("mute." .. i))
    end
    assert(same.drained:subscribe("mute.fn", function() end))
    local window = conn:jetstream()
    assert(window:add_stream("MUTE", { subjects = { "stored" } }))
    assert(window:publish_async("stored", "0"))
    assert(window:await(5))
    local other = server:connect() -- hears what was published, once the server is back
    local heard = assert(other:subscribe("heard"))
    local lost
    conn:on("disconnected", function() lost = true end)
    server:freeze() -- the kernel still accepts connections for it
    eventually(function()
      conn:dispatch(0.1)
      return lost
    end, 20, "the pings to be missed")
    core.sleep(0.3) -- until libnats is in the middle of connecting
    for name, call in pairs({
      flush = function() return conn:flush(0.3) end,
      request = function() return conn:request("x", "", 0.3) end,
      rtt = function() return conn:rtt(0.3) end,
      health = function() return conn:health(0.3).ok or nil end,
      status = function() return conn:status() == "connected" or nil end,
      stats = function() return conn:stats() == nil or nil end,
      test = function() return (naq.test_connection({ servers = server.url, connection_timeout = 0.3 })) end,
      publish = function()
        for i = 1, 1000 do
          assert(conn:publish("heard", tostring(i)))
        end
      end,
      publish_async = function() return assert(window:publish_async("stored", "1")) == nil or nil end,
      close_subscription = function() return subs[1]:close() end,
      unsubscribe = function() return subs[2]:unsubscribe() == nil or nil end,
      collect = function()
        subs[3] = nil
        collectgarbage()
        collectgarbage()
      end,
      drain = function() return same.drained:drain(0.3) end,
      close = function() return same.reused:close() end,
    }) do
      local begin = core.mono()
      assert.is_nil(call(), name)
      local took = core.mono() - begin
      assert.is_true(took < 1.2, ("%s took %.2f s"):format(name, took))
    end
    server:thaw()
    eventually(function() return conn:health(1).ok end, 20, "the reconnect")
    for i = 1, 1000 do
      assert.equal(tostring(i), assert(heard:next(5)).data)
    end
    assert.equal(1, (window:await(10)))
    assert.equal(2, window:stream_info("MUTE").state.messages)
    for _, ended in ipairs({ "mute.1", "mute.2", "mute.3", "mute.fn" }) do
      eventually(function() return select(3, other:request(ended, "", 1)) == "CONNECTION" end, 5, "nobody at " .. ended)
    end
    assert.equal("TIMEOUT", select(3, other:request("mute.4", "", 0.1))) -- still there
    other:close()
    conn:close()
    naq.close_connections(server.url)
    server:stop()
  end)

  it("keeps no more than 8 MB for a server that is away", function()
    local server = nats.start({ jetstream = false })
    local conn = assert(naq.connection({ servers = server.url }))
    server:kill()
    eventually(function() return conn:status() == "reconnecting" end)
    local data, kept = ("x"):rep(100000), 0
    local message, code
    repeat
      local done
      done, message, code = conn:publish("much", data)
      kept = kept + (done and 1 or 0)
    until not done
    -- The first ones may have come to libnats, which keeps 8 MB more.
    assert.is_true(kept >= 83 and kept <= 167, kept)
    assert.equal("CONNECTION", code)
    assert.truthy(message:find("no more than 8 MB", 1, true), message)
    assert.equal("TOO_LARGE", select(3, conn:publish("much", ("x"):rep(2e6))))
    server:restart()
    assert(conn:flush(10))
    assert.is_true(conn:publish("much", data))
    conn:close()
    server:stop()
  end)
end)

describe("a job that closes all connections", function()
  it("leaves those of its worker alone", function()
    local server = nats.start()
    local folder = assert(core.mkdtemp("naq-spec-closing"))
    local f = assert(io.open(folder .. "/jobs.lua", "wb"))
    f:write([[local naq = require("naq")
      naq.job("close", function(args, job)
        local own = assert(naq.connection({ servers = args.url, client_name = "job" }))
        local other = assert(naq.connection({ servers = args.elsewhere }))
        naq.close_all()
        local next_one = assert(job:enqueue("close_not"))
        return { own = own:status(), other = other:status(), id = next_one.id }
      end)
      naq.job("close_not", function() return "ran" end)]])
    f:close()
    local elsewhere = nats.start()
    local worker = support.start_worker({ url = server.url, jobs = { folder .. "/jobs.lua" } })
    local client = server:client()
    local job = assert(client:enqueue("close", { url = server.url, elsewhere = elsewhere.url }))
    assert.equal("completed", job:wait(20))
    local result = job:result()
    assert.same({ "connected", "closed" }, { result.own, result.other })
    local later = assert(client:job(result.id))
    assert.equal("completed", later:wait(20))
    client:close()
    worker:stop()
    server:stop()
    elsewhere:stop()
    core.rmtree(folder)
  end)
end)

-- fork() comes from LuaJIT's FFI, so the program runs there.
local FORKING = [[
local ffi = require("ffi")
ffi.cdef("int fork(void); int waitpid(int pid, int *status, int options); void exit(int status);")
local naq = require("naq")
local url = ...
local conn = assert(naq.connection({ servers = url }))
local sub = assert(conn:subscribe("work"))
assert(conn:subscribe("more", print))
local js = conn:jetstream()
assert(js:add_stream("FORKED", { subjects = { "forked" } }))
assert(js:publish_async("forked", "x"))
local pull = assert(js:pull_subscribe("forked", "d"))
local message = assert(pull:next(5))
local client = assert(naq.connect({ servers = url }))
local idle = assert(naq.connection({ servers = url, client_name = "idle" }))
idle:close()

local function in_the_child()
  for i, call in ipairs({
    function() return conn:publish("x") end,
    function() return conn:flush(1) end,
    function() return conn:request("x", "", 1) end,
    function() return conn:rtt(1) end,
    function() return conn:status() end,
    function() return conn:stats() end,
    function() return conn:info() end,
    function() return conn:subscribe("x") end,
    function() return sub:next(1) end,
    function() return sub:stats() end,
    function() return sub:drain() end,
    function() return sub:unsubscribe(5) end,
    function() return conn:dispatch(1) end,
    function() return js:publish("forked", "x") end,
    function() return js:publish_async("forked", "x") end,
    function() return js:await() end,
    function() return js:stream_info("FORKED") end,
    function() return js:pull_subscribe("forked", "d") end,
    function() return pull:fetch(1) end,
    function() return message:ack() end,
    function() return client:enqueue("job") end,
    function() return naq.connection({ servers = url }) end,
    function() return naq.connect({ servers = url }) end,
    function() return naq.test_connection({ servers = url }) end,
    function() return naq.wait_for_connection(5, { servers = url }) end,
    function() return naq.with_connection({ servers = url }, error) end,
  }) do
    local value, _, code = call()
    if value ~= nil or code ~= "FORKED" then return 10 + i end
  end
  if conn:health().code ~= "FORKED" then return 2 end
  if naq.close_all() ~= 0 or naq.connection_stats().opened ~= 0 then return 3 end
  sub:close()
  conn:close()
  client:close()
  collectgarbage()
  return 0
end

for _ = 1, 3 do
  local pid = ffi.C.fork()
  if pid == 0 then ffi.C.exit(in_the_child()) end
  local status = ffi.new("int[1]", -1)
  assert(ffi.C.waitpid(pid, status, 0) == pid)
  assert(status[0] == 0, "the child ended with " .. status[0])
end
assert(conn:flush()) -- it is still the parent's
assert(conn:publish("work", "after"))
assert(sub:next(5).data == "after")
client:close()
]]

describe("a fork after connecting", function()
  it("answers FORKED to the child, which ends well, and leaves the parent alone", function()
    local server = nats.start()
    local folder = assert(core.mkdtemp("naq-spec-fork"))
    local path, out = folder .. "/program.lua", folder .. "/out"
    local f = assert(io.open(path, "wb"))
    f:write(FORKING)
    f:close()
    local pid = assert(core.spawn({ "luajit", path, server.url }, {
      stdout = out,
      stderr = out,
      die_with_parent = true,
      env = {
        LUA_PATH = support.root .. "/lua/?.lua;" .. support.root .. "/lua/?/init.lua;;",
        LUA_CPATH = support.root .. "/build/lib/5.1/?.so;;", -- the plain build: no leak checker in the child
        LD_PRELOAD = false,
      },
    }))
    local state, status = core.wait(pid, 60)
    if state == "running" then core.kill(-pid, "KILL") end
    local text = assert(io.open(out, "rb")):read("*a")
    assert.same({ "exited", 0 }, { state, status }, text)
    core.rmtree(folder)
    server:stop()
  end)
end)
