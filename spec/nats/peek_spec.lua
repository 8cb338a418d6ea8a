-- Jobs that wait, looked at page by page, taken away one by one or all together.

local core = require("naq.core")
local jetstream_api = require("naq.jetstream_api")
local support = require("spec.support")
local eventually, naq = support.eventually, support.naq

local PRIORITIES = { "low", "normal", "high" }

describe("the jobs that wait on a queue", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function run(...) return naq("-u", server.url, ...) end

  local function fill(count)
    return at:enqueue(count, function(i)
      return { "mark", side:args({ n = i }), { priority = PRIORITIES[i % 3 + 1] } }
    end)
  end

  local function ids_of(jobs)
    local ids = {}
    for i, job in ipairs(jobs) do
      ids[i] = job.id
    end
    return ids
  end

  it("are paged through in order, and stay as they are", function()
    local ids = fill(25)
    assert(client:queue("another"):enqueue("mark"))
    local seen, after = {}, nil
    repeat
      local page = assert(queue:peek(10, after))
      for _, job in ipairs(page) do
        seen[#seen + 1] = job.id
        after = job.seq
      end
    until #page < 10
    assert.same(ids, seen)
    assert.same({ ids[12], ids[13] }, ids_of(assert(queue:peek(2, ids[11]))))
    local first = assert(queue:peek(1))[1]
    assert.equal("mark", first.job)
    assert.equal(queue.name, first.queue)
    assert.equal("normal", first.priority)
    assert.equal(1, first.args.n)
    assert.equal(1, first.attempt)
    assert.is_number(first.enqueued_at)
    assert.equal(25, assert(queue:stats()).pending)
    local jobs, _, code = queue:peek(1, "nobody")
    assert.same({ nil, "JOB_NOT_FOUND" }, { jobs, code })
    assert.same({}, assert(client:queue("empty"):peek()))
    assert.has_error(function() queue:peek(0) end)
    assert.has_error(function() queue:peek(1, {}) end)
  end)

  it("may be no jobs of naq's, and are listed all the same", function()
    assert(client.conn:js_publish(("naq.q.%s.normal.strange"):format(queue.name), "no json"))
    local job = assert(queue:peek())[1]
    assert.equal("strange", job.id)
    assert.is_nil(job.job)
  end)

  it("are those that do not run", function()
    at:worker({ threads = 1 })
    assert(queue:enqueue("hold", side:args()))
    side:reaches(1)
    local waiting = fill(3)
    assert.same(waiting, ids_of(assert(queue:peek())))
    side:open()
  end)

  it("are listed and deleted on the command line", function()
    local ids = fill(3)
    local status, out, errors = run("queue", "peek", queue.name, "--limit", "2", "--json")
    assert.equal(0, status, errors)
    local lines = {}
    for line in out:gmatch("[^\n]+") do
      lines[#lines + 1] = assert(core.decode(line))
    end
    assert.same({ ids[1], ids[2] }, ids_of(lines))
    status, out = run("queue", "peek", queue.name, "--after", ("%d"):format(lines[2].seq))
    assert.equal(0, status)
    assert.truthy(out:find(ids[3], 1, true))
    assert.falsy(out:find(ids[2], 1, true))
    status, out = run("queue", "delete", queue.name, ids[2], "--json")
    assert.equal(0, status)
    assert.same({ id = ids[2], deleted = true }, core.decode(out))
    assert.same({ ids[1], ids[3] }, ids_of(assert(queue:peek())))
    status, out, errors = run("queue", "delete", queue.name, ids[2])
    assert.same({ 1, "" }, { status, out })
    assert.truthy(errors:find("not found", 1, true), errors)
  end)

  it("are deleted one by one, the others are still delivered", function()
    local ids = fill(30)
    for i = 1, 30, 2 do
      assert.is_true(queue:delete(ids[i]))
    end
    assert.equal(15, assert(queue:stats()).pending)
    at:worker()
    side:reaches(15)
    local runs, count = side:runs()
    assert.equal(15, count)
    assert.is_nil(runs[ids[1]])
  end)

  it("are not deleted when they are none any more, and it is said why", function()
    at:worker({ threads = 1 })
    local done = assert(queue:enqueue("mark", side:args()))
    assert.equal("completed", done:wait(10))
    local held = assert(queue:enqueue("hold", side:args()))
    side:reaches(2)
    local later = assert(queue:enqueue_in(3600, "mark", side:args()))
    for id, why in pairs({
      [done.id] = "it has ended already: completed",
      [held.id] = "it is running; to end it all the same, cancel it: naq job cancel " .. held.id,
      [later.id] = "it is scheduled, and not on its queue; to end it",
    }) do
      local deleted, message, code = queue:delete(id)
      assert.same({ nil, "WRONG_STATE" }, { deleted, code })
      assert.truthy(message:find(why, 1, true), message)
    end
    local other = assert(client:queue("another"):enqueue("mark", side:args()))
    local deleted, message = queue:delete(other.id)
    assert.is_nil(deleted)
    assert.truthy(message:find("queue another", 1, true), message)
    assert.same({ nil, "JOB_NOT_FOUND" }, { queue:delete("nobody"), (select(3, queue:delete("nobody"))) })
    side:open()
    assert.equal("completed", held:wait(10))
  end)

  it("are deleted also when a worker had fetched them and given them back", function()
    local worker = at:worker({ threads = 1 })
    assert.equal("completed", assert(queue:enqueue("mark", side:args())):wait(10))
    assert(queue:pause())
    eventually(function() return worker:log():find("paused", 1, true) end, 5)
    -- Asked for before the pause, delivered, and given back: the server counts it as delivered for good.
    local ids = fill(3)
    eventually(function()
      local n = 0
      assert(jetstream_api.each_consumer(client.conn, "naq_jobs", function(info)
        n = n + info.num_ack_pending
      end))
      return n > 0
    end, 10, "one of them to be delivered")
    assert.is_true(queue:delete(ids[1]))
    local other = at:worker({ queues = { "another" } })
    eventually(function() return #client:workers() == 2 end, 10)
    other:freeze() -- it could not have fetched it
    assert.is_true(queue:delete(ids[2]))
    worker:term()
    worker:ends(0, 20)
    assert.is_true(queue:delete(ids[3])) -- and when nobody is there any more
    assert.same({}, assert(queue:peek()))
    assert.is_nil((client:job(ids[1]):status()))
    assert(queue:resume())
    at:worker()
    assert.equal("completed", assert(queue:enqueue("mark", side:args())):wait(10))
    assert.equal(2, (select(2, side:runs())))
  end)

  it("are dropped by the worker that has fetched one: that very message, if it has not begun", function()
    local worker = at:worker({ threads = 1 })
    assert.equal("completed", assert(queue:enqueue("mark", side:args())):wait(10))
    local pauses = 0
    local function pause()
      pauses = pauses + 1
      assert(queue:pause())
      eventually(function() return select(2, worker:log():gsub(": paused\n", "")) == pauses end, 5)
    end
    pause()
    local function tell(job, drop, seq)
      local request = core.encode({ id = job.id, seq = seq or queue:peek(1)[1].seq, drop = drop })
      return core.decode(assert(client.conn:request_many("naq.w.cancel", request, 1, 5))[1]).drops
    end
    local function runs_when_resumed(job, state)
      assert(queue:resume())
      eventually(function()
        local stats = assert(queue:stats())
        return stats.pending + stats.running == 0
      end, 10)
      assert.equal(state, (job:status()))
      pause()
    end
    local job = assert(queue:enqueue("mark", side:args()))
    assert.is_true(tell(job, true))
    runs_when_resumed(job, nil)
    job = assert(queue:enqueue("mark", side:args()))
    assert.is_true(tell(job, true, 1000000)) -- another message
    runs_when_resumed(job, "completed")
    job = assert(queue:enqueue("mark", side:args()))
    assert.is_true(tell(job, true))
    assert.is_false(tell(job, false))
    runs_when_resumed(job, "completed")
    assert(queue:resume())
    local held = assert(queue:enqueue("hold", side:args()))
    side:reaches(4)
    local subject = ("naq.q.%s.normal.%s"):format(queue.name, held.id)
    local info = select(2, client.conn:last_msg("naq_jobs", subject))
    assert.is_false(tell(held, true, info.seq))
    side:open()
    assert.equal("completed", held:wait(10))
  end)

  it("are not deleted when a worker may have one and does not answer: cancelling ends them", function()
    local worker = at:worker({ threads = 1 })
    assert.equal("completed", assert(queue:enqueue("mark", side:args())):wait(10))
    local function consumer()
      return jetstream_api.call(client.conn, "CONSUMER.INFO", ("naq_jobs.%s_normal"):format(queue.name))
    end
    eventually(function() return consumer().num_waiting > 0 end, 5, "the worker to ask")
    worker:freeze()
    local held = assert(queue:enqueue("mark", side:args())).id -- to what it asked for before
    eventually(function() return consumer().num_ack_pending == 1 end, 5)
    local deleted, message, code = queue:delete(held)
    assert.same({ nil, "WRONG_STATE" }, { deleted, code })
    local told = ("worker %s does not answer, and may have fetched it, and begin it; "):format(
      client:workers()[1].id
    ) .. "to end it all the same, cancel it: naq job cancel "
    assert.truthy(message:find(told .. held, 1, true), message)
    assert.is_true(assert(client:job(held)):cancel())
    worker:thaw()
  end)

  it("deleted under racing workers: what is said is what happened", function()
    at:worker({ threads = 2 })
    at:worker({ threads = 2 })
    local ids, gone, kept = fill(600), {}, 0
    for i = 600, 1, -7 do
      local deleted, message, code = queue:delete(ids[i])
      if deleted then
        gone[#gone + 1] = ids[i]
      else
        kept = kept + 1
        assert.truthy(code == "WRONG_STATE" or code == "JOB_NOT_FOUND", message)
      end
    end
    side:reaches(600 - #gone)
    eventually(function()
      local stats = assert(queue:stats())
      return stats.pending + stats.running == 0
    end, 10)
    local runs, count = side:runs()
    assert.equal(600 - #gone, count)
    for _, id in ipairs(gone) do
      assert.is_nil(runs[id])
    end
    assert.is_true(kept + #gone > 0)
  end)

  it("are purged; one that runs is not counted, goes on, and is seen to run", function()
    local worker = at:worker({ threads = 1 })
    local held = assert(queue:enqueue("hold", side:args()))
    side:reaches(1)
    fill(5)
    eventually(function() return assert(queue:stats()).running == 1 end, 5)
    assert.equal(5, queue:purge())
    assert.equal("running", held:status())
    local told = assert(client:job(held.id):explain())
    assert.same({ "running", queue.name }, { told.state, told.queue })
    assert.matches(told.reasons[1].worker, worker:log(), 1, true)
    side:open()
    assert.equal("completed", held:wait(10))
    assert.equal("completed", held:status())
  end)

  it("purged under racing workers: what runs finishes, nothing is stuck, later jobs run", function()
    at:worker({ threads = 2 })
    at:worker({ threads = 2 })
    for round = 1, 5 do
      fill(400)
      eventually(function() return select(2, side:runs()) > 0 end, 10)
      assert(queue:purge())
      local last = assert(queue:enqueue("mark", side:args(), { priority = PRIORITIES[round % 3 + 1] }))
      assert.equal("completed", last:wait(10))
    end
    eventually(function()
      local stats = assert(queue:stats())
      return stats.pending + stats.running == 0, core.encode(stats)
    end, 10)
    local runs = side:runs()
    for id, list in pairs(runs) do
      assert.equal(1, #list, id)
    end
  end)
end)
