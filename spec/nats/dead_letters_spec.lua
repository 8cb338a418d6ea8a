-- Dead letters: listed, shown, run again, discarded; job:retry().

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local JOBS = support.root .. "/spec/nats/jobs.lua"

describe("dead letters", function()
  local server, client, queue, letters, side, worker
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    letters = client:failed()
  end)
  teardown(function()
    support.process.stop_all()
    client:close()
    server:stop()
  end)
  before_each(function()
    queue = client:queue(support.fresh_name())
    side = trail.new()
  end)
  after_each(function()
    if worker then worker:finish() end
    worker = nil
    side:remove()
  end)

  local function serve()
    worker = support.start_worker({
      url = server.url,
      queues = { queue.name },
      jobs = { JOBS },
      threads = 2,
    })
  end

  -- Jobs that have failed for good, of a worker that is gone again.
  local function fail(name, count, args, options)
    local list = {}
    for i = 1, count do
      list[i] = { name, args or { n = i, gate = side.gate }, options }
    end
    local jobs = assert(queue:enqueue_many(list))
    serve()
    for _, job in ipairs(jobs) do
      assert.equal("failed", job:wait(20))
    end
    worker:finish() -- not before its last acks
    worker = nil
    return jobs
  end

  local function publish(id, payload)
    return assert(client.conn:js_publish(("naq.q.%s.normal.%s"):format(queue.name, id), payload, id .. ":0"))
  end

  local function pending()
    local stats = assert(queue:stats())
    return stats.pending + stats.running
  end

  local function ids_of(list)
    local ids = {}
    for i, letter in ipairs(list) do
      ids[i] = letter.id
    end
    return ids
  end

  local function refused(code, pattern, done, message, got)
    assert.is_nil(done)
    assert.equal(code, got, message)
    assert.matches(pattern, message)
  end

  it("are shown whole", function()
    local job = fail("needs_file", 1, { n = 1, gate = side.gate, big = { 1.0, "x" } })[1]
    local before = core.now()
    local letter = assert(letters:show(job.id))
    assert.same({ job.id, queue.name, "normal", "needs_file", "failed" }, {
      letter.id, letter.queue, letter.priority, letter.job, letter.reason,
    })
    assert.same({ "NO_FILE", "no file yet" }, { letter.error.code, letter.error.message })
    assert.matches("jobs.lua:%d+: in function", letter.error.traceback)
    assert.is_true(letter.failed_at <= before and letter.failed_at > before - 30)
    assert.equal(2, #letter.attempts)
    for i, attempt in ipairs(letter.attempts) do
      assert.equal(i, attempt.attempt)
      assert.is_string(attempt.worker)
      assert.is_true(attempt.finished_at >= attempt.started_at)
      assert.matches("jobs.lua:%d+", attempt.traceback)
    end
    assert.same({ 1.0, "x" }, core.decode(letter.args).big)
    assert.equal(1, assert(core.decode(letter.payload)).hop)
    assert.is_nil(core.decode(letter.payload).attempts)
    assert.same(letter, assert(letters:show(job.id, queue.name)))
  end)

  it("are listed page by page, oldest first, and filtered", function()
    fail("needs_file", 5)
    local middle = core.now()
    fail("discard", 3)
    local mine = { queue = queue.name }
    local all = {}
    for letter in letters:each(mine) do
      all[#all + 1] = letter
    end
    assert.equal(8, #all)
    for i = 2, 8 do
      assert.is_true(all[i].seq > all[i - 1].seq)
    end

    local page = assert(letters:list({ queue = queue.name, limit = 3 }))
    local got = ids_of(page)
    while page.next do
      page = assert(letters:list({ queue = queue.name, limit = 3, after = page.next }))
      for _, id in ipairs(ids_of(page)) do
        got[#got + 1] = id
      end
    end
    assert.same(ids_of(all), got)
    assert.is_nil(assert(letters:list({ queue = queue.name, limit = 8 })).next)

    local function count(filter)
      filter.queue = queue.name
      return #assert(letters:list(filter))
    end
    assert.equal(3, count({ reason = "discarded" }))
    assert.equal(5, count({ job = "needs_file" }))
    assert.equal(0, count({ job = "needs_file", reason = "discarded" }))
    assert.equal(3, count({ since = middle }))
    assert.equal(5, count({ ["until"] = middle }))
    assert.equal(0, count({ since = core.now() + 10000 }))
    assert.equal(8, letters:count(queue.name))
    assert.is_true(letters:count() >= 8)
    assert.equal(0, #assert(letters:list({ queue = support.fresh_name() })))
    for _, letter in ipairs(assert(letters:list({ queue = queue.name, reason = "discarded" }))) do
      assert.equal("discard", letter.job)
    end
  end)

  it("of a server without any are none", function()
    local empty = nats.start()
    local other = empty:client()
    assert.same({}, other:failed():list())
    assert.is_nil(other:failed():each()())
    assert.equal(0, other:failed():count())
    assert.equal(0, other:failed():purge())
    assert.equal("JOB_NOT_FOUND", select(3, other:failed():show("nobody")))
    assert.equal("JOB_NOT_FOUND", select(3, other:failed():retry("nobody")))
    other:close()
    empty:stop()
  end)

  it("raise for what is misspelt, and answer for what is no id", function()
    assert.has_error(function() letters:list({ quue = "x" }) end)
    assert.has_error(function() letters:list({ reason = "bad luck" }) end)
    assert.has_error(function() letters:each({ queue = "a b" }) end)
    assert.has_error(function() letters:show(7) end)
    refused("INVALID", "must be 1 to 64", letters:retry("a.b"))
  end)

  describe("run again", function()
    it("keep id and history, and start at attempt 1", function()
      local job = fail("needs_file", 1)[1]
      assert.is_true(letters:retry(job.id))
      assert.equal("pending", job:status())
      assert.equal("JOB_NOT_FOUND", select(3, letters:show(job.id)))
      side:open()
      serve()
      assert.equal("completed", job:wait(20))
      assert.same({ attempt = 1, n = 1 }, job:result())
      refused("WRONG_STATE", "it has completed", job:retry())
      refused("JOB_NOT_FOUND", "no dead letter", letters:retry(job.id))
    end)

    it("and failing again, have the attempts of all rounds", function()
      local job = fail("needs_file", 1)[1]
      assert.is_true(job:retry())
      serve()
      assert.equal("failed", job:wait(20))
      local letter = assert(letters:show(job.id))
      assert.equal(4, #letter.attempts)
      assert.equal(3, core.decode(letter.payload).hop)
      assert.equal(4, #job:info().attempts)
      assert.equal(1, letters:count(queue.name))
    end)

    it("once, by whoever is first", function()
      local jobs = fail("needs_file", 8)
      for _, job in ipairs(jobs) do
        local racers = {}
        for i = 1, 3 do
          racers[i] = support.process.start({ "failed", "retry", job.id, "-u", server.url, "--json" })
        end
        local won = 0
        for _, racer in ipairs(racers) do
          local _, status = racer:wait(30)
          if status == 0 then
            won = won + 1
          else
            local told = assert(core.decode(racer:log():match("^[^\n]+"))).error
            assert.is_true(told.code == "WRONG_STATE" or told.code == "JOB_NOT_FOUND", racer:log())
          end
          racer:stop()
        end
        assert.equal(1, won)
      end
      assert.equal(8, pending())
      side:open()
      serve()
      for _, job in ipairs(jobs) do
        assert.equal("completed", job:wait(20))
      end
      assert.equal(0, letters:count(queue.name))
    end)

    it("go on where one who died left off", function()
      local job = fail("needs_file", 1)[1]
      local bucket = "naq_results_7d"
      local function mark(age)
        local _, revision = assert(client.conn:kv_get(bucket, job.id))
        local text = core.encode({ state = "retry", hop = 2, attempt = 1, retried_at = core.now() - age })
        assert(client.conn:kv_update(bucket, job.id, text, revision))
      end
      mark(1)
      refused("WRONG_STATE", "somebody else is retrying it", letters:retry(job.id))
      mark(60)
      assert.is_true(letters:retry(job.id))
      assert.equal(1, pending())
    end)

    it("leave nothing behind where the letter of an earlier retry stayed", function()
      local job = fail("needs_file", 1)[1]
      local text = assert(client.conn:last_msg("naq_failed", ("naq.f.%s.%s"):format(queue.name, job.id)))
      assert.is_true(letters:retry(job.id))
      assert(client.conn:js_publish(("naq.f.%s.%s"):format(queue.name, job.id), text, job.id .. ":again"))
      refused("WRONG_STATE", "right now", letters:retry(job.id))
      side:open()
      serve()
      assert.equal("completed", job:wait(20))
      refused("WRONG_STATE", "it has completed", letters:retry(job.id))
      assert.equal(0, letters:count(queue.name))
    end)

    it("though the record is gone", function()
      local job = fail("needs_file", 1)[1]
      assert(client.conn:kv_delete("naq_results_7d", job.id))
      assert.equal("JOB_NOT_FOUND", select(3, job:status()))
      assert.is_true(job:retry())
      side:open()
      serve()
      assert.equal("completed", job:wait(20))
    end)

    it("though the record's time is over", function()
      local job = fail("needs_file", 1)[1]
      local text, revision = assert(client.conn:kv_get("naq_results_7d", job.id))
      local over = ('%s,"expires_at":%d}'):format(text:sub(1, -2), math.floor(core.now()) - 10)
      assert(client.conn:kv_update("naq_results_7d", job.id, over, revision))
      assert.equal("EXPIRED", select(3, job:status()))
      assert.is_true(job:retry())
      side:open()
      serve()
      assert.equal("completed", job:wait(20))
    end)

    it("though a message of theirs that was not acked is still on the queue", function()
      local job = fail("needs_file", 1)[1]
      publish(job.id, '{"job":"needs_file","hop":1}')
      assert.is_true(letters:retry(job.id))
      side:open()
      serve()
      assert.equal("completed", job:wait(20))
      eventually(function() return pending() == 0 end, 10, "the old message to be dropped")
    end)

    it("with numbers that not every Lua holds", function()
      publish("big-" .. queue.name, '{"job":"needs_file","args":{"gate":"/nowhere","big":18446744073709551615}}')
      serve()
      local job = assert(client:job("big-" .. queue.name))
      assert.equal("failed", job:wait(20))
      local letter = assert(letters:show(job.id))
      assert.matches("18446744073709551615", letter.args, 1, true)
    end)
  end)

  describe("of what never was a job", function()
    it("are kept as they came, and not run again", function()
      local id = "junk-" .. queue.name
      publish(id, "not JSON \255")
      publish("two-" .. queue.name, '{"v":2,"job":"needs_file"}')
      assert(client.conn:js_publish(("naq.q.%s.normal.bad!id"):format(queue.name), '{"job":"needs_file"}'))
      serve()
      eventually(function() return letters:count(queue.name) == 3 end, 10, "three letters")
      for _, letter in ipairs(assert(letters:list({ queue = queue.name }))) do
        assert.equal("undecodable", letter.reason)
        assert.equal("UNDECODABLE", letter.error.code)
      end
      local letter = assert(letters:show(id))
      assert.equal("bm90IEpTT04g/w==", letter.payload_base64)
      assert.is_nil(letter.job)
      refused("UNDECODABLE", "cannot be run again: payload: it is not JSON", letters:retry(id))
      refused("UNDECODABLE", "only version 1", client:job("two-" .. queue.name):retry())
      assert.equal("failed", client:job(id):status())
      assert.is_true(letters:discard(id))
      assert.equal(2, letters:count(queue.name))
    end)
  end)

  describe("discarded", function()
    it("are gone; their records stay", function()
      local jobs = fail("needs_file", 3)
      assert.is_true(letters:discard(jobs[1].id))
      refused("JOB_NOT_FOUND", "no dead letter", letters:discard(jobs[1].id))
      assert.equal("failed", jobs[1]:status())
      refused("JOB_NOT_FOUND", "its dead letter is gone", jobs[1]:retry())
      assert.equal(2, letters:purge(queue.name))
      assert.equal(0, letters:count(queue.name))
    end)
  end)

  describe("job:retry()", function()
    it("runs a retry that waits now, once", function()
      local job = assert(queue:enqueue("needs_file", { gate = side.gate }, { retry_delay = 3000, max_retries = 1 }))
      serve()
      eventually(function() return job:status() == "retry" end, 10, "the first attempt to fail")
      side:open()
      assert.is_true(job:retry())
      assert.equal("completed", job:wait(10))
      assert.equal(2, job:result().attempt)
      assert.equal("KEY_NOT_FOUND", select(3, client.conn:last_msg("naq_delayed", "naq.d.*." .. job.id)))
    end)

    it("refuses what waits, runs, or is not there", function()
      local job = assert(queue:enqueue("needs_file", { gate = side.gate }))
      refused("WRONG_STATE", "it is pending", job:retry())
      refused("JOB_NOT_FOUND", "not found", client:job("nobody"):retry())
    end)

    it("runs a cancelled job whose record kept it", function()
      local id = "kept-" .. queue.name
      local record = { state = "cancelled", queue = queue.name, priority = "low", attempts = core.array({}) }
      local payload = '{"job":"echo","args":7}'
      local text = core.encode(record):sub(1, -2) .. ',"payload":' .. payload .. "}"
      assert(client.conn:kv_create("naq_results_7d", id, text))
      record.queue = nil
      assert(client.conn:kv_create("naq_results_7d", "bare-" .. queue.name, core.encode(record)))
      refused("WRONG_STATE", "cancelled, and is not kept", client:job("bare-" .. queue.name):retry())
      serve()
      local job = assert(client:job(id))
      assert.is_true(job:retry())
      assert.equal("completed", job:wait(10))
      assert.equal(7, job:result())
    end)
  end)
end)
