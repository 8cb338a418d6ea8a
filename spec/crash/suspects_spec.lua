-- A job that was begun and never ended may be what kills workers. It runs alone, and an innocent one is cleared.

local support = require("spec.support")
local holder = require("spec.support.holder")
local jetstream_api = require("naq.jetstream_api")
local eventually, trail = support.eventually, support.trail

describe("a job whose worker was killed", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function start(crashes, options)
    options = options or {}
    options.env = {
      NAQ_DEFAULT_ACK_WAIT = "2",
      NAQ_WORKER_HEARTBEAT_INTERVAL = "1",
      NAQ_WORKER_MAX_CRASHES = tostring(crashes),
    }
    return at:worker(options)
  end

  -- A worker that is killed when so many runs have begun in all.
  local function killed_at(runs, crashes)
    local worker = start(crashes)
    side:reaches(runs)
    worker:kill()
    worker:wait()
  end

  it("keeps others waiting until its end is stored", function()
    local job = assert(queue:enqueue("hold", side:args()))
    killed_at(1, 3)
    killed_at(2, 3) -- it had claimed
    side:open()
    local proxy = holder.start(server.port, '"state":"completed"')
    finally(proxy.stop)
    start(3, { url = proxy.url })
    proxy.holds()
    local other = assert(queue:enqueue("mark", side:args()))
    eventually(function()
      local info = jetstream_api.call(client.conn, "CONSUMER.INFO", "naq_jobs." .. queue.name .. "_normal")
      return info.num_ack_pending == 2, info.num_ack_pending
    end, 10, "the other one to be fetched")
    for _ = 1, 20 do
      assert.equal("pending", other:status()) -- the worker is asked
    end
    assert.is_nil(side:runs()[other.id])
    local passed = require("naq.core").now()
    proxy.pass()
    assert.equal("completed", other:wait(20))
    assert.equal("completed", job:status())
    assert.is_true(side:runs()[other.id][1].at >= passed)
  end)

  it("has not crashed where its worker lives, and only the server was away at its end", function()
    local job = assert(queue:enqueue("hold_and_fail", side:args(), { max_retries = 0 }))
    killed_at(1, 1)
    local worker = start(1)
    side:reaches(2) -- under a claim
    server:kill()
    side:open()
    eventually(function()
      local log = worker:log()
      return log:find(job.id .. ": its record cannot be read", 1, true), log
    end, 20, "the worker to give up on its outcome")
    server:restart()
    assert.equal("failed", job:wait(30))
    assert.equal("GATE", job:info().error.code)
    assert.equal("failed", trail.letters(client)[job.id].reason)
    assert.equal("failed", trail.records(client)[job.id].reason)
    assert.equal(3, #side:runs()[job.id])
  end)
end)
