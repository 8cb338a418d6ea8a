-- A server that naq has never seen, watched while the first worker creates what it needs there.

local support = require("spec.support")
local eventually = support.eventually

local JOBS = support.root .. "/spec/nats/cancel_jobs.lua"

describe("a new server", function()
  after_each(function() support.process.stop_all() end)

  -- nats-server 2.9.10 dies of a message being read from a stream that is just being created.
  it("survives being asked all the time while the first worker starts", function()
    local server = support.nats.start()
    local client = server:client()
    local queue = client:queue("first")
    local worker = support.start_worker({ url = server.url, queues = { "first" }, jobs = { JOBS } })
    eventually(function()
      for _ = 1, 20 do
        client:leader()
        queue:settings()
        client:job("nobody"):status()
      end
      return worker:log():find("ready", 1, true), worker:log()
    end, 20, "the worker to be ready")
    assert.is_nil(server:log():find("panic", 1, true))
    client:close()
    worker:stop()
    server:stop()
  end)
end)
