-- Cancelling while workers and the server die: whoever was told "cancelled" is right for ever, and so is who
-- was told that it had ended.

local core = require("naq.core")
local support = require("spec.support")
local holder = require("spec.support.holder")
local eventually, trail = support.eventually, support.trail

local JOBS = support.root .. "/spec/nats/cancel_jobs.lua"
local FULL = os.getenv("NAQ_TEST_SCALE") == "full"

describe("cancelling", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function start(options)
    options = options or {}
    options.env = { NAQ_DEFAULT_ACK_WAIT = "1", NAQ_WORKER_HEARTBEAT_INTERVAL = "1" }
    options.jobs = { JOBS }
    options.level = options.level or "warning"
    return at:worker(options)
  end

  local function seeded(what)
    local seed = tonumber(os.getenv("NAQ_SEED")) or math.floor(core.now() * 1000) % 2147483647
    print(("\n%s, NAQ_SEED=%d"):format(what, seed))
    math.randomseed(seed)
  end

  -- A consumer of 2.9.10 may have fallen silent, its server killed several times: then it runs once the
  -- worker has made it anew, see consumer_stuck_spec.lua.
  local function running(job)
    eventually(function()
      local state, message = job:status()
      return state == "running", ("%s\n%s"):format(state or message, at:logs())
    end, 40, "it to run")
    return job
  end

  -- told: id -> "cancelled", or "ended". Each job has one record, which agrees.
  local function agree(told, ids, after_a_kill)
    local records = trail.all_ended(client, ids, 60, after_a_kill)
    for id, said in pairs(told) do
      assert.equal(said == "cancelled", records[id].state == "cancelled", id)
    end
    for id, letter in pairs(trail.letters(client)) do
      assert.not_equal("cancelled", records[id] and records[id].state, letter.id)
    end
    return records
  end

  it("among workers that are killed tells everybody the same", function()
    seeded("cancels among killed workers")
    local count = FULL and 400 or 120
    local ids = at:enqueue(count, function(i)
      local name = ({ "brief", "fail_slowly", "kept_for_an_hour", "loop" })[i % 4 + 1]
      return { name, side:args({ n = i, seconds = math.random() * 0.05, kind = "pcall" }) }
    end)
    local workers, told = { start(), start() }, {}
    local order = {}
    for i, id in ipairs(ids) do
      -- Loops end no other way; of the rest every other one.
      if i % 4 == 3 or i % 8 < 4 then table.insert(order, math.random(#order + 1), id) end
    end
    for i, id in ipairs(order) do
      if i % math.floor(#order / 4) == 0 then
        local k = math.random(2)
        workers[k]:kill()
        workers[k]:wait()
        workers[k] = start()
      end
      local done, message, code = client:job(id):cancel()
      assert.is_true(done or code == "WRONG_STATE", message)
      told[id] = done and "cancelled" or "ended"
      core.sleep(math.random() * 0.02)
    end
    agree(told, ids)
  end)

  it("outlives the server: what was cancelled is not run when it comes back", function()
    seeded("cancels around a killed server")
    local count = FULL and 3000 or 600
    local ids = at:enqueue(count, function(i) return { "brief", side:args({ n = i, seconds = 0 }) } end)
    local told = {}
    for i = 1, count, 2 do
      local k = math.random(i, i + 1)
      assert.is_true(client:job(ids[k]):cancel())
      told[ids[k]] = "cancelled"
    end
    server:kill()
    server:restart()
    start()
    agree(told, ids, true)
    local runs = side:runs()
    for id in pairs(told) do
      assert.is_nil(runs[id], "it was cancelled before the server died, and ran")
    end
  end)

  it("goes on when the server was away in the middle of it", function()
    local told, ids = {}, {}
    start()
    for i = 1, 6 do
      local job = running(assert(queue:enqueue("loop", side:args({ kind = "pcall" }))))
      ids[i] = job.id
      local back = i % 2 == 0 and server:freeze_meanwhile(0, 0.5) or server:kill_meanwhile(0, 0.3)
      local done, message, code
      eventually(function()
        done, message, code = job:cancel()
        return done or code == "WRONG_STATE", message
      end, 20)
      told[job.id] = done and "cancelled" or "ended"
      assert.is_true(done)
      back()
    end
    agree(told, ids, true)
  end)

  it("of a job on a frozen worker counts, whatever that worker has to say when it thaws", function()
    for _, name in ipairs({ "brief", "kept_for_an_hour", "forgotten", "fail_slowly" }) do
      local frozen = start({ name = "frozen" })
      local job = running(assert(queue:enqueue(name, side:args({ n = 1, seconds = 0.3 }), { max_retries = 0 })))
      frozen:freeze()
      assert.is_true(job:cancel())
      assert.equal("cancelled", job:status())
      core.sleep(0.3) -- the time in which it would have ended
      frozen:thaw()
      local after = assert(queue:enqueue("brief", side:args({ n = 2, seconds = 0 })))
      assert.equal("completed", after:wait(20))
      core.kill(frozen.pid, "TERM")
      frozen:wait(20)
      assert.equal("cancelled", job:status())
      assert.equal("JOB_CANCELLED", select(3, job:result()))
      assert.same({}, trail.letters(client))
      eventually(function() return trail.messages(client, "naq_jobs") == 0 end)
    end
  end)

  it("of a job whose worker was killed: nobody runs it again", function()
    local worker = start()
    local job = running(assert(queue:enqueue("loop", side:args({ kind = "plain" }))))
    worker:kill()
    worker:wait()
    assert.is_true(job:cancel())
    start()
    local after = assert(queue:enqueue("brief", side:args({ n = 2, seconds = 1.5 }))) -- past its lease
    assert.equal("completed", after:wait(20))
    assert.equal(1, #side:runs()[job.id])
    assert.equal("cancelled", job:status())
  end)

  it("that a worker was faster than, which nobody could ask yet, says so", function()
    local job = assert(queue:enqueue("kept_for_an_hour", side:args({ n = 1, seconds = 0 })))
    local proxy = holder.start(server.port, "PUB $KV.naq_results_")
    finally(proxy.stop)
    local canceller = support.process.start({ "job", "cancel", job.id, "-u", proxy.url, "--json" })
    proxy.holds()
    start()
    assert.equal("completed", job:wait(20))
    proxy.pass()
    canceller:ends(1, 20)
    assert.matches("it has completed", canceller:log())
    assert.equal("completed", trail.records(client)[job.id].state) -- the only one
    assert.equal("completed", job:status())
  end)

  it("of a job that is about to begin for its time: it never does", function()
    start()
    for i = 1, 10 do
      local due = core.now() + 0.6
      local job = assert(queue:enqueue("brief", side:args({ n = i, seconds = 0 }), { delay = 0.6 }))
      core.sleep(0.05 * i)
      local done = job:cancel()
      local told = core.now()
      core.sleep(math.max(0, due + 0.1 - told))
      local after = assert(queue:enqueue("brief", { n = 0, seconds = 0 }))
      assert.equal("completed", after:wait(10))
      assert.equal(done and "cancelled" or "completed", job:status())
      -- Told too late, on a busy machine, it may have met the job as it began.
      if done and told < due then assert.is_nil(side:runs()[job.id]) end
    end
  end)
end)
