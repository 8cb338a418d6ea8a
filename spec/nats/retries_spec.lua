-- Jobs that are tried again at once: the hop before may still be on its way out of the delayed store and
-- of the queue when the next one comes.

local core = require("naq.core")
local support = require("spec.support")
local nats, trail = support.nats, support.trail

local JOBS = support.root .. "/spec/nats/jobs.lua"

describe("retries without a delay", function()
  local server, client, queue, worker
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    worker = support.start_worker({ url = server.url, queues = { queue.name }, jobs = { JOBS }, threads = 8 })
  end)
  teardown(function()
    support.process.stop_all()
    client:close()
    server:stop()
  end)

  it("are neither lost nor held up", function()
    local entries, ids = {}, {}
    for i = 1, 300 do
      entries[i] = { "fail_until", { attempt = 4 }, { retry_delay = 0 } }
    end
    local before = core.mono()
    for i, job in ipairs(assert(queue:enqueue_many(entries))) do
      ids[i] = job.id
    end
    local records = trail.all_ended(client, ids, 25)
    for _, id in ipairs(ids) do
      assert.equal("completed", records[id].state)
      assert.equal(4, records[id].result)
    end
    -- One that was taken for stored, or given up on, would come back with its lease, after 30 s.
    assert.is_true(core.mono() - before < 25)
    assert.is_nil(worker:log():find("was not stored", 1, true), worker:log())
  end)

  it("snoozing as often as told", function()
    local side = trail.new()
    local job = assert(queue:enqueue("snooze", side:args({ times = 10, seconds = 0 })))
    assert.equal("completed", job:wait(20))
    assert.same({ runs = 11, attempt = 1 }, job:result())
    side:remove()
  end)
end)
