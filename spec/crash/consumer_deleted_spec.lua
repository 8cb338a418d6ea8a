-- Consumers that vanish under a running worker, which makes them again and goes on.

local core = require("naq.core")
local jetstream_api = require("naq.jetstream_api")
local support = require("spec.support")

describe("a consumer deleted under a worker", function()
  local at = support.scene()
  local client, queue, side
  before_each(function()
    client, queue, side = at:begin()
    at:worker({ threads = 2 })
    assert.equal("completed", assert(queue:enqueue("mark", side:args())):wait(10))
  end)
  after_each(function() at:finish() end)

  -- How long the next job takes from the deletion on.
  local function recovery(stream, consumers, enqueue)
    for _, consumer in ipairs(consumers) do
      -- 2.9.10 may complain about a file that it writes itself meanwhile; the consumer is gone.
      local _, message, code = jetstream_api.call(client.conn, "CONSUMER.DELETE", stream .. "." .. consumer)
      assert.is_true(not code or message:find("directory not empty", 1, true) ~= nil, message)
    end
    local before = core.mono()
    local job = assert(enqueue())
    assert.equal("completed", job:wait(40))
    return core.mono() - before
  end

  it("is made again within 5 s, for the jobs of a queue", function()
    local took = recovery("naq_jobs", { queue.name .. "_normal" }, function()
      return queue:enqueue("mark", side:args())
    end)
    assert.is_true(took < 5, ("took %.1f s"):format(took))
  end)

  it("is made again within 5 s, all of a queue's at once", function()
    local names = { queue.name .. "_high", queue.name .. "_normal", queue.name .. "_low" }
    local took = recovery("naq_jobs", names, function()
      return queue:enqueue("mark", side:args(), { priority = "high" })
    end)
    assert.is_true(took < 5, ("took %.1f s"):format(took))
  end)

  it("is made again within 5 s, for retries", function()
    -- The scheduler's: one a bucket that it reads.
    local names
    support.eventually(function()
      names = assert(jetstream_api.call(client.conn, "CONSUMER.NAMES", "naq_delayed")).consumers
      return names and #names > 0
    end, 10, "the scheduler to read")
    local took = recovery("naq_delayed", names, function()
      return queue:enqueue("fail_first", side:args(), { retry_delay = 0.1 })
    end)
    assert.is_true(took < 5, ("took %.1f s"):format(took))
  end)
end)
