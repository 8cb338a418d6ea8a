-- Recurring schedules as records: made, looked at, changed, by one and by two. No scheduler runs here.

local core = require("naq.core")
local moment = require("naq.moment")
local naq = require("naq")
local support = require("spec.support")

local function refusal(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return message
end

describe("a schedule", function()
  local server, client, queue, id
  setup(function()
    server = support.nats.start()
    client = server:client()
  end)
  teardown(function()
    client:close()
    server:stop()
  end)
  before_each(function()
    queue = client:queue("reports")
    id = support.fresh_name()
  end)

  local function record() return core.decode(assert(client.conn:kv_get("naq_schedules", id))) end

  describe("when it is made", function()
    it("says when it runs next and what it runs", function()
      local schedule = assert(queue:schedule(id, {
        job = "report", args = { kind = "daily" }, cron = "0 3 * * *", timezone = "Europe/Berlin",
      }))
      local row = assert(schedule:info())
      assert.same(core.cron_next("0 3 * * *", "Europe/Berlin")[1], row.next_run)
      assert.equal("active", row.state)
      assert.equal("report", row.job)
      assert.same({ kind = "daily" }, row.args)
      assert.equal("reports", row.queue)
      assert.equal(0, row.runs)
      assert.is_nil(row.last_run)
      assert.is_nil(row.remaining)
      assert.equal("Europe/Berlin", row.timezone)
    end)

    it("counts an interval from now, or from starts_at", function()
      local before = core.now()
      local row = assert(queue:schedule(id, { job = "report", interval = 30 })):info()
      assert(row.next_run >= before + 29.99 and row.next_run <= core.now() + 30.01)
      local start = math.floor(core.now()) - 100
      row = assert(queue:schedule(id .. "b", { job = "report", interval = 30, starts_at = start })):info()
      assert.equal(start + 120, row.next_run)
      row = assert(queue:schedule(id .. "c", { job = "report", interval = 30, starts_at = start + 500 })):info()
      assert.equal(start + 500, row.next_run)
    end)

    it("does not run before starts_at", function()
      local row = assert(queue:schedule(id, {
        job = "report", cron = "0 0 * * *", starts_at = "2099-01-01T00:00:00Z", ends_at = "2099-01-03T00:00:00Z",
      })):info()
      assert.equal(moment.seconds("2099-01-01"), row.next_run)
      row = assert(queue:schedule(id .. "b", {
        job = "report", cron = "0 0 * * *", starts_at = "2099-01-01T00:00:01Z",
      })):info()
      assert.equal(moment.seconds("2099-01-02"), row.next_run)
    end)

    it("may begin paused", function()
      local row = assert(queue:schedule(id, { job = "report", interval = 5, enabled = false })):info()
      assert.equal("paused", row.state)
      assert.is_nil(row.next_run)
    end)

    it("carries the policy of its runs in their payload", function()
      assert(queue:schedule(id, {
        job = "report", interval = 5, max_retries = 7, retry_on = {}, priority = "low", queue = "other",
        meta = { a = 1 }, args = core.array({}),
      }))
      local stored = record()
      local payload = { v = 1, job = "report", max_retries = 7, retry_on = {}, meta = { a = 1 }, args = {} }
      assert.same(payload, stored.payload)
      assert.equal("low", stored.priority)
      assert.equal("other", stored.queue)
      local text = client.conn:kv_get("naq_schedules", id)
      assert.matches('"retry_on":%[%]', text)
      assert.matches('"args":%[%]', text)
    end)

    it("is refused where it cannot be", function()
      local function refused(definition)
        local made, message, code = queue:schedule(id, definition)
        assert.is_nil(made)
        assert.equal("INVALID", code)
        return message
      end
      assert.matches("at character 3, in the hour", refused({ job = "r", cron = "0 24 * * *" }))
      assert.matches("Atlantis", refused({ job = "r", cron = "0 2 * * *", timezone = "Atlantis" }))
      assert.matches("without quotes", refused({ job = 'a"b', interval = 5 }))
      assert.matches("ends_at has passed", refused({ job = "r", cron = "0 2 * * *", ends_at = 1000 }))
      assert.matches("before starts_at", refused({ job = "r", interval = 5, starts_at = 2000, ends_at = 1000 }))
      assert.equal("INVALID", select(3, queue:schedule(("x"):rep(51), { job = "r", interval = 5 })))
      assert.equal("INVALID", select(3, queue:schedule("a.b", { job = "r", interval = 5 })))
      assert.equal("KEY_NOT_FOUND", select(3, client:schedule(id)))
    end)

    it("is refused when there is one of its id, unless that has ended", function()
      local schedule = assert(queue:schedule(id, { job = "report", interval = 5 }))
      assert.equal("KEY_EXISTS", select(3, queue:schedule(id, { job = "report", interval = 5 })))
      assert(schedule:cancel())
      assert.equal("cancelled", schedule:info().state)
      schedule = assert(queue:schedule(id, { job = "other", interval = 5 }))
      assert.equal("other", schedule:info().job)
    end)

    it("raises at the caller's line for misuse", function()
      for wanted, definition in pairs({
        ["needs the name of a job"] = { interval = 5 },
        ["either cron or interval"] = { job = "r" },
        ["a schedule has either"] = { job = "r", interval = 5, cron = "* * * * *" },
        ["unknown option 'crom' %(did you mean 'cron'"] = { job = "r", crom = "* * * * *" },
        ["option 'overlap' must be one of"] = { job = "r", interval = 5, overlap = "never" },
        ["option 'repeat' must be at least 1"] = { job = "r", interval = 5, ["repeat"] = 0 },
        ["option 'starts_at' must be epoch seconds"] = { job = "r", interval = 5, starts_at = "soon" },
        ["timezone is for cron"] = { job = "r", interval = 5, timezone = "UTC" },
        ["option 'interval' must be at least"] = { job = "r", interval = 0 },
      }) do
        local message = refusal(function() queue:schedule(id, definition) end)
        assert.matches("schedules_spec.lua:%d+: ", message)
        assert.matches(wanted, message)
      end
      assert.matches("described by a table", refusal(function() queue:schedule(id, 5) end))
      assert.matches("id must be a string", refusal(function() client:schedule(7) end))
    end)
  end)

  describe("when it is changed", function()
    it("swaps cron for interval and back, its next run computed anew", function()
      local schedule = assert(queue:schedule(id, { job = "r", cron = "0 3 * * *", timezone = "Europe/Berlin" }))
      local row = assert(schedule:modify({ interval = 60 }))
      assert.is_nil(row.cron)
      assert.is_nil(row.timezone)
      assert(math.abs(row.next_run - core.now() - 60) < 1)
      row = assert(schedule:modify({ cron = "@hourly" }))
      assert.is_nil(row.interval)
      assert.equal("UTC", row.timezone)
      assert.equal(core.cron_next("@hourly")[1], row.next_run)
      assert.is_nil(record().anchor)
      assert(schedule:modify({ interval = 60 }))
      assert.equal("INVALID", select(3, schedule:modify({ timezone = "Europe/Berlin" })))
      assert.equal("INVALID", select(3, schedule:modify({ job = 'a"b' })))
      assert.matches("timezone is for cron", refusal(function()
        schedule:modify({ interval = 60, timezone = "Europe/Berlin" })
      end))
    end)

    it("changes job, arguments and policy, and unsets with null", function()
      local schedule = assert(queue:schedule(id, { job = "r", interval = 60, max_retries = 2, ends_at = "2099-01-01" }))
      local before = schedule:info().next_run
      assert(schedule:modify({ job = "s", args = { 1 }, max_retries = naq.null, priority = "high" }))
      assert.equal(before, schedule:info().next_run)
      assert.same({ v = 1, job = "s", args = { 1 } }, record().payload)
      assert.equal("high", record().priority)
      assert(schedule:modify({ ends_at = naq.null }))
      assert.is_nil(record().ends_at)
      local row, _, code = schedule:modify({ cron = "61 * * * *" })
      assert.is_nil(row)
      assert.equal("INVALID", code)
      assert.equal(60, record().interval)
    end)

    it("has its next run moved alone; an interval goes on from there", function()
      local schedule = assert(queue:schedule(id, { job = "r", cron = "0 3 * * *" }))
      local row = assert(schedule:modify({ next_run = "2099-01-01T12:30:00Z" }))
      assert.equal(moment.seconds("2099-01-01T12:30:00Z"), row.next_run)
      assert.equal("0 3 * * *", row.cron)
      local before = core.now()
      row = assert(schedule:modify({ next_run = 5 })) -- a time that has passed is now
      assert(row.next_run >= before - 0.001 and row.next_run <= core.now() + 0.001, row.next_run)
      assert(schedule:modify({ interval = 60, next_run = "2099-01-01" }))
      assert.equal(moment.seconds("2099-01-01") - 60, record().anchor)
      assert(schedule:modify({ ends_at = "2098-01-01", next_run = core.now() + 5 }))
      assert.equal("INVALID", select(3, schedule:modify({ next_run = "2099-01-01" })))
      local stored = record()
      stored.done_until = core.now() + 1000
      assert(client.conn:kv_put("naq_schedules", id, core.encode(stored)))
      local done, message, code = schedule:modify({ next_run = core.now() + 500 })
      assert.is_nil(done)
      assert.equal("INVALID", code)
      assert.matches("been through that time", message)
      assert(schedule:pause())
      assert.equal("WRONG_STATE", select(3, schedule:modify({ next_run = core.now() + 5000 })))
      assert.matches("option 'next_run' must be", refusal(function() schedule:modify({ next_run = "soon" }) end))
      assert.matches("unknown option 'next_run'", refusal(function()
        queue:schedule(id .. "b", { job = "r", interval = 5, next_run = 5 })
      end))
    end)

    it("is told from another's change: one wins", function()
      assert(queue:schedule(id, { job = "r", interval = 60 }))
      local a, b = assert(client:schedule(id)), assert(client:schedule(id))
      assert(a:modify({ interval = 61 }))
      local row, message, code = b:modify({ interval = 62 })
      assert.is_nil(row)
      assert.equal("WRONG_REVISION", code)
      assert.matches("somebody else has changed it", message)
      assert.equal(61, b:info().interval)
      assert.equal(62, assert(b:modify({ interval = 62 })).interval)
    end)

    it("is not disturbed by what the scheduler writes", function()
      local schedule = assert(queue:schedule(id, { job = "r", interval = 60 }))
      local stored = record()
      stored.runs, stored.last_run = 4, 1000.5
      assert(client.conn:kv_put("naq_schedules", id, core.encode(stored)))
      local row = assert(schedule:modify({ interval = 61 }))
      assert.equal(4, row.runs)
    end)

    it("pauses, resumes and ends, and says what cannot be", function()
      local schedule = assert(queue:schedule(id, { job = "r", interval = 60 }))
      assert.equal("paused", assert(schedule:pause()).state)
      assert.equal("paused", assert(schedule:pause()).state)
      assert.is_nil(schedule:info().next_run)
      local row = assert(schedule:resume())
      assert.equal("active", row.state)
      assert(row.next_run > core.now())
      assert.equal("cancelled", assert(schedule:cancel()).state)
      assert.equal("cancelled", assert(schedule:cancel()).state)
      assert.equal("WRONG_STATE", select(3, schedule:resume()))
      assert.equal("WRONG_STATE", select(3, schedule:pause()))
      assert.equal("WRONG_STATE", select(3, schedule:run()))
      assert.equal("WRONG_STATE", select(3, schedule:modify({ interval = 5 })))
      assert(schedule:delete())
      assert.equal("KEY_NOT_FOUND", select(3, schedule:info()))
      assert.equal("KEY_NOT_FOUND", select(3, schedule:pause()))
    end)

    it("resumes from now: never at a time that it has been through", function()
      local schedule = assert(queue:schedule(id, { job = "r", interval = 60 }))
      local stored = record()
      local ahead = core.now() + 3600
      stored.done_until, stored.state = ahead, "failed"
      stored.error = { code = "STORAGE_FULL", message = "full" }
      assert(client.conn:kv_put("naq_schedules", id, core.encode(stored)))
      assert.equal("STORAGE_FULL", schedule:info().error.code)
      local row = assert(schedule:resume())
      assert(row.next_run > ahead)
      assert.is_nil(row.error)
    end)

    it("has finished when its runs are over, and goes on when there are more again", function()
      local schedule = assert(queue:schedule(id, { job = "r", interval = 60, ["repeat"] = 3 }))
      assert.equal(3, schedule:info().remaining)
      local stored = record()
      stored.runs = 2
      assert(client.conn:kv_put("naq_schedules", id, core.encode(stored)))
      assert.equal(1, schedule:info().remaining)
      assert.equal("finished", assert(schedule:modify({ ["repeat"] = 2 })).state)
      local row = assert(schedule:modify({ ["repeat"] = 5 }))
      assert.equal("active", row.state)
      assert(row.next_run > core.now())
    end)
  end)

  it("runs now, by hand, without losing its time", function()
    local schedule = assert(queue:schedule(id, { job = "r", args = { 1 }, interval = 3600 }))
    local before = schedule:info()
    local first, second = assert(schedule:run()), assert(schedule:run())
    assert.not_equal(first.id, second.id)
    assert.matches("^" .. id .. "%-%d+$", first.id)
    assert.equal("pending", first:status())
    local row = assert(schedule:info())
    assert.equal(second.id, row.last_job)
    assert.equal("pending", row.last_state)
    assert.equal(before.next_run, row.next_run)
    assert.equal(0, row.runs)
    local runs = assert(schedule:runs())
    assert.equal(second.id, runs[1].id)
    assert.equal(first.id, runs[2].id)
    assert.same({ 1 }, first:info().args)
  end)

  it("stands in the list, as does a record that is none", function()
    assert(queue:schedule(id, { job = "r", interval = 60 }))
    assert(client.conn:kv_put("naq_schedules", id .. "x", "not JSON"))
    assert(client.conn:kv_put("naq_schedules", id .. "y", '{"v":9,"payload":{}}'))
    local rows = {}
    for _, row in ipairs(assert(client:schedules())) do
      rows[row.id] = row
    end
    assert.equal("active", rows[id].state)
    assert.equal("failed", rows[id .. "x"].state)
    assert.equal("SERIALIZATION", rows[id .. "x"].error.code)
    assert.equal("UNSUPPORTED", rows[id .. "y"].error.code)
    assert(client.conn:kv_delete("naq_schedules", id .. "x"))
    assert(client.conn:kv_delete("naq_schedules", id .. "y"))
  end)

  it("is there on the default client too", function()
    assert(naq.schedule(id, { job = "r", interval = 60 }))
    assert.equal("default", client:schedule(id):info().queue)
    assert.equal("paused", assert(naq.pause_scheduled_job(id)).state)
    assert.equal("active", assert(naq.resume_scheduled_job(id)).state)
    assert.equal(61, assert(naq.modify_scheduled_job(id, { interval = 61 })).interval)
    local message = refusal(function() naq.modify_scheduled_job(id, { x = 1 }) end)
    assert.matches("schedules_spec.lua:%d+: unknown option", message)
    assert.equal("cancelled", assert(naq.cancel_scheduled_job(id)).state)
    assert.equal("KEY_NOT_FOUND", select(3, naq.pause_scheduled_job("nothing")))
    local job = assert(naq.enqueue_in(3600, "r"))
    assert.is_true(naq.modify_scheduled_job(job.id, { next_run = "2099-01-01" }))
    assert.equal(moment.seconds("2099-01-01"), job:info().run_at)
    assert.equal("INVALID", select(3, naq.modify_scheduled_job(job.id, { interval = 5 })))
    message = refusal(function() naq.modify_scheduled_job(job.id, { next_run = "soon" }) end)
    assert.matches("schedules_spec.lua:%d+: the time must be", message)
    assert.is_true(naq.cancel_scheduled_job(job.id))
    assert.equal("cancelled", job:status())
    assert.equal("KEY_NOT_FOUND", select(3, naq.cancel_scheduled_job("nothing")))
  end)

  it("works on a server that has nothing yet", function()
    local fresh = support.nats.start()
    local its = fresh:client()
    assert.same({}, its:schedules())
    assert.equal("KEY_NOT_FOUND", select(3, its:schedule("a")))
    assert(its:schedule("a", { job = "r", interval = 5 }))
    assert.equal(1, #its:schedules())
    its:close()
    fresh:stop()
  end)
end)
