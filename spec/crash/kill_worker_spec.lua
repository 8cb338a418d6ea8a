-- Workers that die without a word: nothing is lost, nothing ends twice, and a job that kills every
-- worker it meets is put aside.

local support = require("spec.support")
local eventually, trail = support.eventually, support.trail

local FULL = os.getenv("NAQ_TEST_SCALE") == "full"

describe("workers killed with SIGKILL", function()
  local at = support.scene()
  local client, queue, side
  before_each(function() client, queue, side = at:begin() end)
  after_each(function() at:finish() end)

  local function start(env) return at:worker({ level = "warning", env = env }) end

  it("leave 2,000 jobs with exactly one terminal record each", function()
    local kills = FULL and 20 or 5
    local count = FULL and 10000 or 2000
    local env = { NAQ_DEFAULT_ACK_WAIT = "2" }
    local ids = at:enqueue(count, function(i) return { "mark", side:args({ n = i, seconds = 0.002 }) } end)
    local workers = { start(env), start(env) }
    for kill = 1, kills do
      side:reaches(math.floor(count * 0.8 * kill / kills))
      local which = kill % 2 + 1
      workers[which]:kill()
      assert.equal("signaled", (workers[which]:wait()))
      workers[which] = start(env)
    end

    local records = trail.all_ended(client, ids, 120)
    local runs = side:runs()
    for i, id in ipairs(ids) do
      assert.equal("completed", records[id].state)
      assert.equal(i, records[id].result)
      assert.is_true(#(runs[id] or {}) >= 1, "job " .. i .. " never ran")
    end
    assert.same({}, trail.letters(client))
  end)

  it("by a job: it ends as a dead letter, its neighbours complete", function()
    local env = { NAQ_DEFAULT_ACK_WAIT = "1", NAQ_WORKER_MAX_CRASHES = "2" }
    local neighbours = {}
    for i = 1, 20 do
      neighbours[i] = assert(queue:enqueue("mark", side:args({ n = i, seconds = 0.01 })))
    end
    local poison = assert(queue:enqueue("kill_the_worker", side:args()))
    for i = 21, 40 do
      neighbours[i] = assert(queue:enqueue("mark", side:args({ n = i, seconds = 0.01 })))
    end

    local worker, deaths = start(env), 0
    eventually(function()
      if worker:wait(0) ~= "running" then
        deaths = deaths + 1
        worker:stop()
        worker = start(env)
      end
      return poison:status() == "failed", deaths .. " deaths"
    end, 60, "the poisonous job to be put aside")

    -- Begun once unasked, then under each of the claims it is allowed.
    assert.equal(3, #side:runs()[poison.id])
    assert.equal(3, deaths)
    local ids = { poison.id }
    for i, job in ipairs(neighbours) do
      ids[i + 1] = job.id
    end
    local records = trail.all_ended(client, ids)
    for i, job in ipairs(neighbours) do
      assert.equal(i, records[job.id].result)
    end
    assert.equal("crashed", records[poison.id].reason)
    assert.equal("JOB_CRASHED", records[poison.id].error.code)

    local letters = trail.letters(client)
    assert.equal("crashed", letters[poison.id].reason)
    assert.equal("kill_the_worker", letters[poison.id].payload.job)
    letters[poison.id] = nil
    assert.same({}, letters)
  end)
end)
