-- SIGTSTP: a worker takes no more jobs, until SIGCONT or its end.

local support = require("spec.support")
local trail, eventually = support.trail, support.eventually

local FULL = os.getenv("NAQ_TEST_SCALE") == "full"

describe("a worker made quiet", function()
  local at = support.scene()
  local client, queue, side
  before_each(function() client, queue, side = at:begin() end)
  after_each(function() at:finish() end)

  local function start(name, more)
    -- The record shows the moment at which it was written: often enough to be waited for.
    local options = { name = name, env = { NAQ_DEFAULT_ACK_WAIT = "30", NAQ_WORKER_HEARTBEAT_INTERVAL = "1" } }
    for k, v in pairs(more or {}) do
      options[k] = v
    end
    return at:worker(options)
  end

  local function enqueue(count, seconds)
    return at:enqueue(count, function(i) return { "mark", side:args({ n = i, seconds = seconds }) } end)
  end

  local function says(worker, text)
    eventually(function() return worker:log():find(text, 1, true) end, 5, text)
  end

  local function shows(state)
    eventually(function()
      local list = assert(client:workers())
      return #list == 1 and list[1].state == state, list[1] and list[1].state
    end, 5, "a worker that is " .. state)
  end

  it("finishes what runs, gives back the rest and takes nothing new", function()
    local held = assert(queue:enqueue("hold", side:args()))
    local first = start("first")
    side:reaches(1)
    first:signal("TSTP")
    says(first, "quiet, jobs that still run: 1")
    shows("stopping")
    local ids = enqueue(50, 0)
    start("second")
    side:reaches(51, 10)
    assert.equal("running", first:wait(0))
    side:open()
    assert.equal("completed", held:wait(5))
    assert.matches("^first%-", held:info().worker)
    for _, id in ipairs(ids) do
      local job = assert(client:job(id))
      assert.equal("completed", job:wait(5))
      assert.matches("^second%-", job:info().worker)
    end
  end)

  it("takes jobs again after SIGCONT", function()
    local worker = start()
    eventually(function() return #assert(client:workers()) == 1 end, 10, "the worker")
    worker:signal("TSTP")
    says(worker, "quiet")
    shows("stopping")
    local job = assert(queue:enqueue("mark", side:args()))
    worker:signal("CONT")
    assert.equal("completed", job:wait(10))
    says(worker, "takes jobs again")
    shows("idle")
  end)

  it("ends at SIGTERM with status 0", function()
    local worker = start()
    eventually(function() return #assert(client:workers()) == 1 end, 10, "the worker")
    worker:signal("TSTP")
    says(worker, "quiet")
    worker:term()
    worker:ends(0, 5)
    assert.same({}, assert(client:workers()))
  end)

  it("loses no job and runs none twice under load", function()
    local count, times = FULL and 12000 or 2500, FULL and 30 or 6
    local ids = enqueue(count, 0.001)
    local workers = { start("one"), start("two") }
    for n = 1, times do
      local worker = workers[n % 2 + 1]
      side:reaches(math.floor(count * 0.8 * n / times))
      worker:signal("TSTP")
      eventually(function()
        local _, quiet = worker:log():gsub("quiet, jobs", "")
        return quiet == math.ceil(n / 2), worker:log()
      end, 5, "it to be quiet")
      worker:signal("CONT")
    end
    for _, record in pairs(trail.all_ended(client, ids, 20)) do
      assert.equal("completed", record.state)
    end
    local _, total = side:runs()
    assert.equal(count, total)
  end)
end)
