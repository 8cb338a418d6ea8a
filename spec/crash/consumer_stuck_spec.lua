-- A consumer that has jobs, a waiting pull and nothing to say, as nats-server 2.9.10's may end up after it was
-- killed several times in a row. Here one that allows a single message under way, which nobody acks.

local support = require("spec.support")
local nats, trail = support.nats, support.trail

local CONSUMER = '{"stream_name":"naq_jobs","config":{"durable_name":"stuck_normal","deliver_policy":"all",'
  .. '"ack_policy":"explicit","ack_wait":600000000000,"max_deliver":-1,"max_ack_pending":1,"max_waiting":4096,'
  .. '"filter_subject":"naq.q.stuck.normal.*","replay_policy":"instant"}}'

describe("a consumer that delivers nothing", function()
  it("is asked again, then made anew", function()
    local server = nats.start()
    local client, side = server:client(), trail.new()
    assert(client:ensure_layout())
    assert(client.conn:request("$JS.API.CONSUMER.DURABLE.CREATE.naq_jobs.stuck_normal", CONSUMER, 5))
    local queue = client:queue("stuck")
    local jobs = {}
    for i = 1, 2 do
      jobs[i] = assert(queue:enqueue("mark", side:args({ n = i })))
    end
    assert(client.conn:request("$JS.API.CONSUMER.MSG.NEXT.naq_jobs.stuck_normal", '{"batch":1}', 5))
    local worker = support.start_worker({
      url = server.url,
      queues = { "stuck" },
      jobs = { support.root .. "/spec/crash/jobs/marks.lua" },
      env = { NAQ_WORKER_HEARTBEAT_INTERVAL = "1" },
    })
    for i = 1, 2 do
      assert.equal("completed", jobs[i]:wait(60))
    end
    assert.matches("it is made anew", worker:log(), 1, true)
    worker:stop()
    client:close()
    server:stop()
    side:remove()
  end)
end)
