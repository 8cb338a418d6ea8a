-- The examples of a request-reply service and of a stream reader, on each interpreter.
local core = require("naq.core")
local naq = require("naq")
local interpreters = require("spec.support.interpreters")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

local FOLDER = support.root .. "/examples/connections/"

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

  local text_of = interpreters.text_of

  local function output()
    count = count + 1
    return ("%s/out%d"):format(folder, count)
  end

  local function start(one, example, ...)
    local out = output()
    return interpreters.start(one, { FOLDER .. example, ... }, out, server.url), out
  end

  local function run(one, example, ...)
    return interpreters.run(one, { FOLDER .. example, ... }, output(), server.url)
  end

  for _, one in ipairs(interpreters.LIST) do
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
