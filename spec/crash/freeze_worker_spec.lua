-- A worker that freezes past its lease and thaws: by then its job is another's, and what it still has
-- to say about it does not count.

local support = require("spec.support")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local MARKS = support.root .. "/spec/crash/jobs/marks.lua"

describe("a worker frozen past its lease", function()
  local server, client, queue, side
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
  end)
  teardown(function()
    client:close()
    server:stop()
  end)
  before_each(function()
    queue = client:queue(support.fresh_name())
    side = trail.new()
  end)
  after_each(function()
    support.process.stop_all()
    side:remove()
  end)

  local function start(name)
    return support.start_worker({
      url = server.url,
      queues = { queue.name },
      jobs = { MARKS },
      threads = 2,
      name = name,
      env = { NAQ_DEFAULT_ACK_WAIT = "1" },
    })
  end

  -- The job runs on a worker that freezes in the middle of it; another one takes it over, ends it (the
  -- gate is open by then), and the first one thaws and ends it too.
  local function frozen_and_thawed(job, until_ended)
    local frozen = start("frozen")
    side:reaches(1)
    frozen:freeze()
    local other = start("other")
    side:reaches(2)
    side:open()
    until_ended()
    frozen:thaw()
    eventually(function()
      local log = frozen:log()
      return log:find(job.id .. ": the outcome of worker frozen%-%S+ is refused"), log
    end, 10, "the frozen worker's outcome to be refused")
    return frozen, other
  end

  it("cannot overwrite the other one's result", function()
    local job = assert(queue:enqueue("hold", side:args()))
    frozen_and_thawed(job, function() assert.equal("completed", job:wait(20)) end)
    assert.equal("held", job:result())
    assert.matches("^other%-", job:info().worker)
    assert.equal(2, #side:runs()[job.id])
    eventually(function() return trail.messages(client, "naq_jobs") == 0 end)
  end)

  it("adds no dead letter when its attempt fails as well", function()
    local job = assert(queue:enqueue("hold_and_fail", side:args(), { max_retries = 0 }))
    frozen_and_thawed(job, function() assert.equal("failed", job:wait(20)) end)
    local info = assert(job:info())
    assert.matches("^other%-", info.worker)
    local letter = trail.letters(client)[job.id]
    assert.equal("failed", letter.reason)
    assert.equal(1, #letter.attempts)
    assert.matches("^other%-", letter.attempts[1].worker)
    assert.equal(1, trail.messages(client, "naq_failed"))
  end)

  it("adds no second retry when its attempt fails as well", function()
    local job = assert(queue:enqueue("hold_and_fail", side:args(), {
      max_retries = 1,
      retry_delay = 0.2,
      retry_strategy = "fixed",
    }))
    local frozen, other = frozen_and_thawed(job, function() assert.equal("failed", job:wait(20)) end)
    local letter = trail.letters(client)[job.id]
    assert.equal(2, #letter.attempts)
    for number, attempt in ipairs(letter.attempts) do
      assert.equal(number, attempt.attempt)
      assert.matches("^other%-", attempt.worker)
    end
    -- Attempt 1 on both of them, attempt 2 once.
    local runs = side:runs()[job.id]
    assert.equal(3, #runs)
    assert.same({ 1, 1, 2 }, { runs[1].attempt, runs[2].attempt, runs[3].attempt })
    assert.same({ frozen.pid, other.pid, other.pid }, { runs[1].pid, runs[2].pid, runs[3].pid })
    assert.equal(0, trail.messages(client, "naq_delayed"))
    eventually(function() return trail.messages(client, "naq_jobs") == 0 end)
  end)
end)
