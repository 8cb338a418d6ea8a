-- The examples of a request-reply service and of a stream reader, on each interpreter.
local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

local FOLDER = support.root .. "/examples/connections/"
local INTERPRETERS = { { "lua5.4", "5.4" }, { "luajit", "5.1" }, { "lua5.1", "5.1" } }

describe("examples/connections", function()
  local server, folder, count

  setup(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-examples"))
    count = 0
  end)

  teardown(function()
    server:stop()
    core.rmtree(folder)
  end)

  local function text_of(path)
    local f = assert(io.open(path, "rb"))
    local text = f:read("*a")
    f:close()
    return text
  end

  local function start(one, example, ...)
    count = count + 1
    local out = ("%s/out%d"):format(folder, count)
    local pid = assert(core.spawn({ one[1], FOLDER .. example, ... }, {
      stdout = out,
      stderr = out,
      die_with_parent = true,
      env = {
        LUA_PATH = support.lua_path,
        LUA_CPATH = ("%s/lib/%s/?.so;;"):format(support.build, one[2]),
        LUA_PATH_5_4 = false,
        LUA_CPATH_5_4 = false,
        LD_PRELOAD = support.preload,
        NAQ_NATS_URL = server.url,
      },
    }))
    return pid, out
  end

  local function run(one, example, ...)
    local pid, out = start(one, example, ...)
    local state, status = core.wait(pid, 60)
    if state == "running" then core.kill(pid, "KILL") end
    return state == "exited" and status or state, text_of(out)
  end

  for _, one in ipairs(INTERPRETERS) do
    it("request_reply.lua answers, in " .. one[1], function()
      local status, text = run(one, "request_reply.lua", "ask", "1")
      assert.equal(1, status)
      assert.equal("request_reply: no calculator is running\n", text)
      local service, out = start(one, "request_reply.lua", "serve")
      eventually(function() return text_of(out):find("serving", 1, true), text_of(out) end, 20, "the service")
      status, text = run(one, "request_reply.lua", "ask", "1", "2", "3.5")
      assert.equal("6.5\n", text)
      assert.equal(0, status)
      status, text = run(one, "request_reply.lua", "ask", "1", "two")
      assert.equal("request_reply: 'two' is not a number\n", text)
      assert.equal(1, status)
      core.kill(service, "KILL")
      core.wait(service, 10)
    end)

    it("stream_reader.lua goes on where it stopped, in " .. one[1], function()
      local name = support.fresh_name()
      local status, text = run(one, "stream_reader.lua", name, "0.2")
      assert.equal(0, status, text)
      local conn = assert(naq.connection({ servers = server.url }))
      local js = conn:jetstream()
      assert(js:purge_stream("JOURNAL"))
      local function publish(data) return assert(js:publish("journal.web", data)) end
      local first = publish("started")
      status, text = run(one, "stream_reader.lua", name, "0.2")
      assert.equal(("%d journal.web started\n"):format(first), text)
      assert.equal(0, status)
      local second = publish("stopped")
      status, text = run(one, "stream_reader.lua", name, "0.2")
      assert.equal(("%d journal.web stopped\n"):format(second), text)
      assert.equal(0, status)
      conn:close()
    end)
  end
end)
