-- job:cancel(): whatever state the job is in, one end, and everybody is told the same.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local JOBS = support.root .. "/spec/nats/cancel_jobs.lua"
local FULL = os.getenv("NAQ_TEST_SCALE") == "full"
local SLOW = support.build:find("san", 1, true) ~= nil -- a sanitizer's build

describe("cancelling", function()
  local server, client, queue, idle, side, worker
  local function start(options)
    options.url, options.jobs = server.url, { JOBS }
    options.queues = options.queues or { queue.name }
    return support.start_worker(options)
  end
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    idle = client:queue(support.fresh_name()) -- nobody serves it
    worker = start({ threads = 4 })
    eventually(function() return worker:log():find("ready", 1, true) end, 10)
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
  end)
  before_each(function() side = trail.new() end)
  after_each(function() side:remove() end)

  local function record_of(job)
    return core.decode((assert(client.conn:find_record("naq", job.id))))
  end

  -- Every way to learn of it says the same, and nothing of the job is left to be run.
  local function is_cancelled(job)
    assert.equal("cancelled", job:status())
    assert.equal("cancelled", job:wait(1))
    local value, message, code = job:result()
    assert.is_nil(value)
    assert.equal(("job %s: was cancelled"):format(job.id), message)
    assert.equal("JOB_CANCELLED", code)
    assert.equal("cancelled", job:info().state)
    eventually(function()
      local waiting = require("naq.lookup").waiting(client, job.id)
      return waiting == nil, waiting and waiting.state
    end, 10, "nothing of it to wait")
  end

  local function running(job)
    eventually(function() return job:status() == "running", job:status() end, 10, "it to run")
    return job
  end

  -- The only live worker says that it does not run the job.
  local function is_free(job)
    eventually(function()
      local list = assert(client.conn:request_many("naq.w.running", job.id, 1, 1))
      return list[1] and list[1]:find('"running":false', 1, true), list[1]
    end, 10, "the thread to be free")
  end

  describe("a job that waits", function()
    it("on its queue: it never runs, and its record keeps what it was given", function()
      local job = assert(idle:enqueue("brief", { n = 1, seconds = 0 }, { priority = "high", meta = { a = 1 } }))
      assert.is_true(job:cancel())
      is_cancelled(job)
      local record = record_of(job)
      assert.equal("brief", record.job)
      assert.equal(idle.name, record.queue)
      assert.equal("high", record.priority)
      assert.same({ n = 1, seconds = 0 }, record.payload.args)
      assert.equal(0, idle:stats().pending)
    end)

    it("by its id alone", function()
      local job = assert(idle:enqueue("brief", { seconds = 0 }))
      assert.is_true(assert(client:job(job.id)):cancel())
      is_cancelled(job)
    end)

    it("for its time", function()
      local id = core.new_id()
      local due = math.floor(core.now() * 1000) + 3600000
      local headers = { ["Naq-Due"] = ("%d"):format(due), ["Naq-To"] = idle.name .. ".normal" }
      local subject = ("naq.d.%d.%s"):format(math.floor(due / 600000), id)
      assert(client.conn:js_publish(subject, '{"job":"brief","args":{"seconds":0}}', id .. ":0", { headers = headers }))
      local job = client:job(id)
      assert.equal("scheduled", job:status())
      assert.is_true(job:cancel())
      is_cancelled(job)
    end)

    it("for its next attempt: its history is kept", function()
      local job = assert(queue:enqueue("fail_once", side:args()))
      eventually(function() return job:status() == "retry", job:status() end, 10)
      assert.is_true(job:cancel())
      is_cancelled(job)
      assert.equal("once", record_of(job).attempts[1].message:match("once"))
      assert.equal(1, #job:info().attempts)
    end)

    it("leaves those before and behind it alone", function()
      local jobs = {}
      local other = client:queue(support.fresh_name())
      for i = 1, 20 do
        jobs[i] = assert(other:enqueue("brief", side:args({ n = i, seconds = 0 })))
      end
      for i = 2, 20, 2 do
        assert.is_true(jobs[i]:cancel())
      end
      local server_of_it = start({ queues = { other.name }, threads = 1 })
      for i = 1, 20 do
        assert.equal(i % 2 == 1 and "completed" or "cancelled", jobs[i]:wait(20))
      end
      local runs, count = side:runs()
      assert.equal(10, count)
      assert.is_nil(runs[jobs[2].id])
      core.kill(server_of_it.pid, "TERM")
      server_of_it:wait(20)
    end)
  end)

  describe("a job that runs", function()
    for _, kind in ipairs({ "plain", "pcall", "coroutine", "handler", "sleep", "wait" }) do
      it(("is stopped within 100 ms: %s"):format(kind), function()
        -- The machine may be busy with something else, as it is while other suites run.
        local fastest = math.huge
        for try = 1, 10 do
          local job = running(assert(queue:enqueue("loop", side:args({ kind = kind, url = server.url }))))
          side:reaches(try)
          local begun = core.mono()
          assert.is_true(job:cancel())
          is_free(job)
          fastest = math.min(fastest, core.mono() - begun)
          is_cancelled(job)
          assert.equal(1, #side:runs()[job.id])
          if fastest < 0.1 then break end
        end
        assert.is_true(fastest < (SLOW and 2 or 0.1), fastest)
      end)
    end

    it("and looks has its time to tidy up; what it returns counts for nothing", function()
      for i, look in ipairs({ 0.001, 0.2 }) do
        os.remove(side.gate)
        local args = side:args({ path = side.gate, look = look, tidy = 0.3 })
        local job = assert(queue:enqueue("tidy", args))
        side:reaches(i)
        assert.is_true(job:cancel())
        assert.equal("cancelled", job:status())
        eventually(function()
          local f = io.open(side.gate, "rb")
          local text = f and f:read("*a")
          if f then f:close() end
          return text == "tidied", text
        end, 5, "it to tidy up")
        is_cancelled(job)
      end
    end)

    it("and looks without end is stopped all the same", function()
      local job = running(assert(queue:enqueue("stubborn", side:args())))
      assert.is_true(job:cancel())
      is_free(job)
      is_cancelled(job)
    end)

    it("in a call into C is given up like any other that is stuck, and stays cancelled", function()
      local other = client:queue(support.fresh_name())
      local own = start({ queues = { other.name }, threads = 1 })
      local job = running(assert(other:enqueue("call_into_c", side:args())))
      assert.is_true(job:cancel())
      is_cancelled(job)
      -- A new thread serves the queue before that call is back.
      local next_one = assert(other:enqueue("brief", { n = 2, seconds = 0 }))
      assert.equal("completed", next_one:wait(10))
      assert.matches("cannot be stopped", own:log())
      is_cancelled(job)
      core.kill(own.pid, "TERM")
      own:wait(20)
    end)

    it("leaves no record when it completes, and one when it is cancelled", function()
      for _, name in ipairs({ "forgotten", "kept_for_an_hour", "brief" }) do
        local job = running(assert(queue:enqueue(name, side:args({ seconds = 20 }))))
        assert.is_true(job:cancel())
        is_cancelled(job)
      end
      local job = running(assert(queue:enqueue("brief", side:args({ seconds = 20 }), { result_ttl = 0 })))
      assert.is_true(job:cancel())
      is_cancelled(job)
    end)

    it("wakes who waits for it", function()
      local job = running(assert(queue:enqueue("loop", { kind = "plain" })))
      local status, out
      local waiting = support.process.start({ "job", "result", job.id, "--wait", "20", "-u", server.url })
      eventually(function() return support.naq("job", "cancel", job.id, "-u", server.url) == 0 end, 5)
      status, out = waiting:wait(10)
      assert.equal("exited", status)
      assert.equal(1, out)
      assert.matches("was cancelled", waiting:log())
      waiting:stop()
    end)
  end)

  describe("a job that has ended", function()
    it("is refused, and told how it ended", function()
      local done = assert(queue:enqueue("brief", { n = 1, seconds = 0 }))
      assert.equal("completed", done:wait(10))
      local ok, message, code = done:cancel()
      assert.same({ nil, ("job %s: it has completed"):format(done.id), "WRONG_STATE" }, { ok, message, code })
      assert.equal(1, done:result())

      local failed = assert(queue:enqueue("fail_once", {}, { max_retries = 0 }))
      assert.equal("failed", failed:wait(10))
      ok, message, code = failed:cancel()
      assert.same({ nil, ("job %s: it has failed"):format(failed.id), "WRONG_STATE" }, { ok, message, code })
    end)

    it("by being cancelled: fine", function()
      local job = assert(idle:enqueue("brief", { seconds = 0 }))
      assert.is_true(job:cancel())
      local before = record_of(job)
      assert.is_true(job:cancel())
      assert.same(before, record_of(job))
    end)

    it("without a record, or never was: JOB_NOT_FOUND", function()
      local ok, message, code = assert(client:job("nobody")):cancel()
      assert.same({ nil, "job nobody: not found", "JOB_NOT_FOUND" }, { ok, message, code })
      local forgotten = assert(queue:enqueue("brief", { seconds = 0 }, { result_ttl = 0 }))
      eventually(function() return forgotten:status() == nil end, 10)
      assert.equal("JOB_NOT_FOUND", select(3, forgotten:cancel()))
    end)
  end)

  it("and retrying by hand: it runs after all", function()
    local args = side:args({ n = 7, seconds = 0 })
    for _, on in ipairs({ idle, queue }) do
      local job
      if on == idle then
        job = assert(on:enqueue("brief", args))
      else
        job = running(assert(on:enqueue("tidy", side:args({ path = side.gate, seconds = 0 }))))
      end
      assert.is_true(job:cancel())
      assert.is_true(job:retry())
      if on == idle then
        assert.equal("pending", job:status())
        local of_it = start({ queues = { idle.name }, threads = 1 })
        assert.equal("completed", job:wait(10))
        assert.equal(7, job:result())
        core.kill(of_it.pid, "TERM")
        of_it:wait(20)
      else
        running(job)
        assert.is_true(job:cancel())
        is_cancelled(job)
      end
    end
  end)

  it("keeps numbers and long payloads as they were", function()
    local text = ("x"):rep(1048576 - 4096 - 200)
    local job = assert(idle:enqueue("brief", { n = 1, seconds = 0, text = text }))
    assert.is_true(job:cancel())
    is_cancelled(job)
    -- Too large to stand in a record beside anything else, or kept whole: never cut.
    local record = record_of(job)
    if record.payload then assert.equal(text, record.payload.args.text) end

    local data = '{"job":"brief","args":{"n":9007199254740993.25e1,"big":18446744073709551616}}'
    local id = core.new_id()
    assert(client.conn:js_publish(("naq.q.%s.low.%s"):format(idle.name, id), data))
    assert.is_true(client:job(id):cancel())
    local kept = client.conn:find_record("naq", id)
    assert.is_truthy(kept:find('"args":{"n":9007199254740993.25e1,"big":18446744073709551616}', 1, true), kept)
    assert(client.conn:kv_purge("naq_results_7d", id))
  end)

  it("takes what is no job at all off its queue", function()
    local id = core.new_id()
    assert(client.conn:js_publish(("naq.q.%s.low.%s"):format(idle.name, id), "no JSON"))
    assert.is_true(client:job(id):cancel())
    is_cancelled(client:job(id))
  end)

  -- Hundreds of jobs, each cancelled at a random moment around its end.
  describe("at the moment of its end", function()
    local STEP, SPREAD = 0.0005, 0.004 -- seconds

    -- When that moment is depends on the machine and its load, so it is felt for: a job that had ended
    -- gives the next one longer, a cancelled one less, by steps that grow until the outcome turns. Every
    -- fourth is cancelled anywhere before: at the end of an earlier attempt, say.
    local function seeker()
      local lead, step, last = 0, STEP, nil
      return {
        job = function() return math.max(lead, 0) + math.random() * SPREAD end,
        pause = function()
          local at = math.max(-lead, 0) + math.random() * SPREAD
          return math.random(4) == 1 and math.random() * at or at
        end,
        learn = function(outcome)
          step = outcome == last and step * 1.5 or STEP
          lead, last = lead + (outcome == "ended" and step or -step), outcome
        end,
      }
    end

    local function race(name, options, count)
      local seed = tonumber(os.getenv("NAQ_SEED")) or math.floor(core.now() * 1000) % 2147483647
      print(("\ncancelling %d times %s, NAQ_SEED=%d"):format(count, name, seed))
      math.randomseed(seed)
      local tally, moment = { cancelled = 0, ended = 0 }, seeker()
      for i = 1, count do
        local job = assert(queue:enqueue(name, side:args({ n = i, seconds = moment.job() }), options))
        core.sleep(moment.pause())
        local done, message, code = job:cancel()
        local outcome = done and "cancelled" or "ended"
        tally[outcome] = tally[outcome] + 1
        moment.learn(outcome)
        if done then
          is_cancelled(job)
        elseif name == "forgotten" then
          assert.is_truthy(code == "JOB_NOT_FOUND" or code == "WRONG_STATE", message)
        else
          assert.equal("WRONG_STATE", code, message)
          assert.equal(name == "fail_slowly" and "failed" or "completed", job:wait(1))
          if name ~= "fail_slowly" then assert.equal(i, job:result()) end
        end
      end
      assert.is_true(tally.cancelled > 0 and tally.ended > 0, core.encode(tally))
    end

    local COUNT = FULL and 400 or 60
    for _, name in ipairs({ "brief", "kept_for_an_hour", "forgotten" }) do
      it(("has one outcome: %s"):format(name), function()
        race(name, nil, COUNT)
        trail.records(client) -- no job has two
      end)
    end

    it("has one outcome: attempts that fail", function()
      race("fail_slowly", { max_retries = 1 }, COUNT)
      trail.records(client)
      for id in pairs(trail.letters(client)) do
        assert.equal("failed", client:job(id):status())
      end
    end)

    it("has one outcome when many cancel", function()
      local others = {}
      for i = 1, 3 do
        others[i] = server:client()
      end
      for i = 1, 20 do
        local job = assert(queue:enqueue("brief", side:args({ n = i, seconds = 0.002 })))
        local told = {}
        for k, other in ipairs(others) do
          told[k] = { other:job(job.id):cancel() }
        end
        local state = job:wait(5)
        for _, answer in ipairs(told) do
          assert.equal(state == "cancelled", answer[1] == true, answer[2])
        end
      end
      for _, other in ipairs(others) do
        other:close()
      end
    end)
  end)
end)
