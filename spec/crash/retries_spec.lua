-- Retries that wait, dead letters that are run again: nothing of them is lost or comes early, whoever dies.

local core = require("naq.core")
local support = require("spec.support")
local eventually, trail = support.eventually, support.trail

local MARKS = support.root .. "/spec/crash/jobs/marks.lua"

describe("what waits to be run again", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function start()
    local env = { NAQ_DEFAULT_ACK_WAIT = "1", NAQ_WORKER_HEARTBEAT_INTERVAL = "1" }
    return at:worker({ level = "warning", env = env })
  end

  local function enqueue(name, count, options)
    return at:enqueue(count, function() return { name, side:args(), options } end)
  end

  it("outlives its workers and the server, and is never early", function()
    local count, delays = 60, { 0.5, 2.5 }
    local ids = enqueue("fail_twice", count, { retry_delay = delays, retry_jitter = 0 })
    local workers = { start(), start() }
    -- All have failed once: now nobody is left who knows of them but the store.
    side:reaches(count)
    for i, worker in ipairs(workers) do
      worker:kill()
      worker:wait()
      workers[i] = start()
    end
    side:reaches(count * 2 - 10)
    server:kill()
    server:restart()
    workers[1]:kill()
    workers[1]:wait()
    start()

    local records = trail.all_ended(client, ids, 60, true)
    local runs = side:runs()
    for _, id in ipairs(ids) do
      assert.equal("completed", records[id].state)
      assert.equal(3, records[id].result)
      -- A worker that was killed in an attempt leaves a further line of it; each begins in time.
      local ended = {}
      for _, run in ipairs(runs[id]) do
        local before = ended[run.attempt - 1]
        if before then
          local early = before + delays[run.attempt - 1] - run.at
          assert.is_true(early <= 0, ("attempt %d was %.3f s early"):format(run.attempt, early))
        end
        ended[run.attempt] = ended[run.attempt] or run.at
      end
    end
    assert.same({}, trail.letters(client))
  end)

  it("is run again once each, though `naq failed retry` is killed in the middle", function()
    local count = 400
    local ids = enqueue("hold_and_fail", count, { max_retries = 0 })
    side:open()
    local worker = start()
    local letters = client:failed()
    eventually(function()
      local n = letters:count(queue.name)
      return n == count, n
    end, 30, "dead letters")
    worker:kill()
    worker:wait()

    for kill = 1, 3 do
      local retry = support.process.start({ "failed", "retry", "--all", "--yes", "-u", server.url })
      eventually(function() return letters:count(queue.name) <= count * (4 - kill) / 4 end, 30, "some to be retried")
      retry:kill()
      retry:wait()
    end
    -- The letter that was in a dead command's hands is left alone for ten seconds.
    eventually(function()
      for letter in letters:each() do
        letters:retry(letter.id, letter.queue)
      end
      return letters:count(queue.name) == 0, letters:count(queue.name)
    end, 30, "all to be retried")

    local now = core.now()
    start()
    trail.all_ended(client, ids, 60)
    local runs = side:runs()
    for _, id in ipairs(ids) do
      local after = 0
      for _, run in ipairs(runs[id]) do
        if run.at > now then after = after + 1 end
      end
      assert.equal(1, after, "runs of job " .. id)
    end
    -- They fail again, each with the attempts of both rounds.
    for id, letter in pairs(trail.letters(client)) do
      assert.equal(2, #letter.attempts, id)
    end
    assert.equal(count, letters:count(queue.name))
  end)

  it("is listed to the end though the server is started again meanwhile", function()
    local letter = '{"v":1,"id":"j%d","reason":"failed","failed_at":5,"payload":{"job":"a"}}'
    for i = 1, 1200 do
      assert(client.conn:js_publish("naq.f.q.j" .. i, letter:format(i)))
    end
    local seen, count = {}, 0
    for found, message in client:failed():each() do
      assert.is_truthy(found, message)
      assert.is_nil(seen[found.id])
      seen[found.id], count = true, count + 1
      if count % 400 == 100 then
        server:kill()
        server:restart()
      end
    end
    assert.equal(1200, count)
  end)

  it("may have killed its worker: put aside, it can be run again and is counted anew", function()
    local env = { NAQ_DEFAULT_ACK_WAIT = "1", NAQ_WORKER_MAX_CRASHES = "1" }
    local poison = assert(queue:enqueue("kill_the_worker", side:args()))
    local after = {}
    for i = 1, 5 do
      after[i] = assert(queue:enqueue("mark", side:args({ n = i })))
    end
    local deaths = 0
    local function until_crashed(letters)
      local worker
      eventually(function()
        if not worker or worker:wait(0) ~= "running" then
          if worker then deaths = deaths + 1 end
          worker = support.start_worker({
            url = server.url, queues = { queue.name }, jobs = { MARKS }, threads = 1, level = "warning", env = env,
          })
        end
        return client:failed():count() == letters and poison:status() == "failed"
      end, 60, "the job to be put aside")
      return worker
    end

    local worker = until_crashed(1)
    for i, job in ipairs(after) do
      assert.equal("completed", job:wait(20))
      assert.equal(i, job:result())
    end
    local letter = assert(client:failed():show(poison.id))
    assert.equal("crashed", letter.reason)
    assert.equal("JOB_CRASHED", letter.error.code)
    assert.matches("started at least 1 time and never ended; the last worker was %S+", letter.error.message)
    local attempt = letter.attempts[1]
    local info = assert(poison:info())
    assert.same({ attempt.worker, attempt.started_at, attempt.finished_at },
      { info.worker, info.started_at, info.finished_at })
    -- The worker that died, not the one that put it aside.
    assert.is_nil(worker:log():find(attempt.worker .. ": ready", 1, true))
    assert.is_true(attempt.started_at < attempt.finished_at)

    local begun = #side:runs()[poison.id]
    assert.is_true(poison:retry())
    eventually(function() return worker:wait(0) ~= "running" end, 10, "the worker to be killed again")
    deaths = deaths + 1
    until_crashed(1)
    assert.equal(begun + 1, #side:runs()[poison.id])
    assert.equal(2, #assert(client:failed():show(poison.id)).attempts)
    assert.is_true(deaths >= 3)
  end)
end)
