-- naq schedule, list-scheduled and job-control, as processes.

local core = require("naq.core")
local support = require("spec.support")

describe("naq schedule", function()
  local server, client
  setup(function()
    server = support.nats.start()
    client = server:client()
  end)
  teardown(function()
    client:close()
    server:stop()
  end)

  local function naq(...)
    local args = { ... }
    args[#args + 1] = "-u"
    args[#args + 1] = server.url
    return support.naq((table.unpack or unpack)(args)) -- luacheck: ignore 113 143
  end

  local function json(...)
    local status, out, errors = naq("--json", ...)
    assert.equal(0, status, errors)
    local rows = {}
    for line in out:gmatch("[^\n]+") do
      rows[#rows + 1] = assert(core.decode(line))
    end
    return rows[1], rows
  end

  it("adds, shows, changes and ends one", function()
    local row = json("schedule", "add", "nightly", "--job", "report", "--args", '{"kind":"daily"}', "-q", "reports",
      "--cron", "0 3 * * *", "--timezone", "Europe/Berlin", "--repeat", "3",
      "--opts", '{"overlap":"skip","max_retries":1}')
    assert.equal("active", row.state)
    assert.equal("reports", row.queue)
    assert.equal(3, row.remaining)
    assert.equal("skip", row.overlap)
    assert.same({ kind = "daily" }, row.args)
    assert.equal(core.cron_next("0 3 * * *", "Europe/Berlin")[1], row.next_run)

    assert.equal("nightly", json("schedule", "show", "nightly").id)
    assert.equal(60, json("schedule", "modify", "nightly", "--interval", "60").interval)
    assert.is_nil(json("schedule", "modify", "nightly", "--opts", '{"overlap":null}').overlap)
    assert.equal("paused", json("schedule", "pause", "nightly").state)
    assert.equal("active", json("schedule", "resume", "nightly").state)
    assert.equal("paused", json("job-control", "nightly", "pause").state)
    assert.equal("paused", json("list-scheduled", "--state", "paused").state)
    local run = json("schedule", "run", "nightly")
    assert.equal("pending", client:job(run.id):status())
    assert.equal("cancelled", json("schedule", "cancel", "nightly").state)
    local status, out = naq("schedule", "show", "nightly")
    assert.equal(0, status)
    assert.matches("state%s+cancelled", out)
    assert.matches("latest runs:\n  " .. run.id:gsub("%-", "%%-"), out)
    assert.equal("cancelled", json("schedule", "cancel", "nightly", "--delete").state)
    local _, rows = json("schedule", "list")
    assert.same({}, rows)
  end)

  it("has job-control, for schedules and for jobs that wait", function()
    assert(client:schedule("other", { job = "poll", cron = "0 3 * * *", timezone = "Europe/Berlin" }))
    assert.equal("0 4 * * *", json("job-control", "other", "reschedule", "--cron", "0 4 * * *").cron)
    local row = json("job-control", "other", "reschedule", "--interval", "60", "--repeat", "5")
    assert.equal(60, row.interval)
    assert.equal(5, row.remaining)
    row = json("job-control", "other", "reschedule", "--next-run", "2099-01-01T00:00:00+01:00")
    assert.equal(4070905200, row.next_run)
    assert.equal("paused", json("job-control", "other", "pause").state)
    assert.equal("active", json("job-control", "other", "resume").state)
    assert.equal("cancelled", json("job-control", "other", "cancel").state)
    assert(assert(client:schedule("other")):delete())

    local job = assert(client:enqueue_in(3600, "poll"))
    assert.same({ id = job.id, rescheduled = true },
      json("job-control", job.id, "reschedule", "--next-run", "2099-01-01"))
    assert.equal(4070908800, job:info().run_at)
    assert.same({ id = job.id, cancelled = true }, json("job-control", job.id, "cancel"))
    assert.equal("cancelled", job:status())

    local function refused(wanted, pattern, ...)
      local status, _, errors = naq("job-control", ...)
      assert.equal(wanted, status, errors)
      assert.matches(pattern, errors)
    end
    refused(2, "to what", "other", "reschedule")
    refused(2, "for reschedule", "other", "cancel", "--cron", "* * * * *")
    refused(2, "is no time", "other", "reschedule", "--next-run", "soon")
    refused(2, "must be one of", "other", "stop")
    refused(1, "there is none of that id", "other", "reschedule", "--next-run", "2099-01-01")
    refused(1, "there is none of that id", "other", "cancel")
    refused(1, "it is cancelled", job.id, "reschedule", "--next-run", "2099-01-01")
    local later = assert(client:enqueue_in(3600, "poll"))
    refused(1, "nothing else to be changed", later.id, "reschedule", "--interval", "5")
    refused(1, "there is none of that id", later.id, "pause")
  end)

  it("lists them for people", function()
    assert(client:schedule("every", { job = "poll", interval = 30 }))
    local status, out = naq("schedule", "list")
    assert.equal(0, status)
    assert.matches("every +poll +default +active +every 30 s", out)
    assert(client:schedule("every"):cancel())
  end)

  it("is told of by workers and doctor when it is overdue and nobody leads", function()
    local record = { queue = "q", payload = { job = "x" }, interval = 5, anchor = 1000, next_run = core.now() - 60 }
    record.state = "active"
    assert(client.conn:kv_put("naq_schedules", "late", core.encode(record)))
    local _, _, errors = naq("workers")
    assert.matches("overdue, since no scheduler leads: schedule late", errors)
    local status, out = naq("doctor", "--json")
    assert.equal(1, status)
    assert.matches("these schedules are overdue: late", table.concat(core.decode(out).problems, "\n"))
    assert(client.conn:kv_purge("naq_schedules", "late"))
    _, _, errors = naq("workers")
    assert.equal("", errors)
  end)

  it("refuses what is wrong", function()
    local function refused(wanted, pattern, ...)
      local status, _, errors = naq(...)
      assert.equal(wanted, status, errors)
      assert.matches(pattern, errors)
    end
    refused(2, "needs the name of a job", "schedule", "add", "a", "--interval", "5")
    refused(2, "either cron or interval", "schedule", "add", "a", "--job", "x")
    refused(1, "at character 3, in the hour", "schedule", "add", "a", "--job", "x", "--cron", "0 25 * * *")
    refused(2, "unknown option 'overlapp'", "schedule", "add", "a", "--job", "x", "--interval", "5", "--opts",
      '{"overlapp":1}')
    refused(2, "not a JSON object", "schedule", "add", "a", "--job", "x", "--interval", "5", "--opts", "[1]")
    refused(2, "is not JSON", "schedule", "add", "a", "--job", "x", "--interval", "5", "--args", "{")
    refused(1, "there is none of that id", "schedule", "show", "nothing")
    refused(1, "must be 1 to 50", "schedule", "show", "a.b")
    refused(2, "what is to be changed", "schedule", "modify", "nothing")
    assert.equal(3, (support.naq("schedule", "list", "-u", "nats://127.0.0.1:1")))
  end)
end)
