-- Recurring schedules fired by a scheduler: in the spec's own process, and in others that are killed.

local core = require("naq.core")
local support = require("spec.support")
local eventually = support.eventually

describe("a scheduler", function()
  local scene = support.scheduled()
  local server, client, queue, scheduler
  setup(function() server, client = scene:begin() end)
  teardown(function() scene:finish() end)
  before_each(function() queue, scheduler = scene:schedule() end)
  after_each(function()
    scheduler:close()
    scene:forget()
  end)

  local function waiting() return scene:waiting() end

  local function info(schedule) return assert(schedule:info()) end

  it("fires an interval at its times, each run a job of its own", function()
    local schedule = assert(queue:schedule("tick", { job = "tick", args = { n = 1 }, interval = 0.25, ["repeat"] = 4 }))
    local first = info(schedule).next_run
    eventually(function() return info(schedule).state == "finished" end, 20, "four runs")
    local ids = waiting()
    table.sort(ids)
    assert.equal(4, #ids)
    for i, id in ipairs(ids) do
      assert.equal(("tick-%.0f"):format((first + (i - 1) * 0.25) * 1000), id)
    end
    local row = info(schedule)
    assert.equal(4, row.runs)
    assert.equal(0, row.remaining)
    assert.is_nil(row.next_run)
    assert.equal(ids[4], row.last_job)
    assert.equal("pending", row.last_state)
    assert.equal(4, #assert(schedule:runs()))
    local job = client:job(ids[1])
    assert.same({ n = 1 }, job:info().args)
    local late = job:info().enqueued_at - first
    assert(late >= 0 and late < 0.5, late)
  end)

  it("fires a cron expression each second", function()
    local schedule = assert(queue:schedule("second", { job = "tick", cron = "* * * * * *" }))
    eventually(function() return info(schedule).runs >= 2 end, 20, "two runs")
    assert(schedule:pause())
    for _, id in ipairs(waiting()) do
      assert.matches("^second%-%d+000$", id)
    end
    local runs = info(schedule).runs
    core.sleep(0) -- nothing is waited for: what would be fired has been, once the pause is told
    assert.equal("paused", info(schedule).state)
    assert(runs >= 2)
  end)

  it("stops at ends_at", function()
    local schedule = assert(queue:schedule("short", { job = "tick", interval = 0.2, ends_at = core.now() + 0.7 }))
    eventually(function() return info(schedule).state == "finished" end, 20, "its end")
    assert.equal(3, #waiting())
  end)

  it("follows changes made while it runs", function()
    local schedule = assert(queue:schedule("change", { job = "a", interval = 3600 }))
    assert(schedule:modify({ job = "b", interval = 0.1 }))
    eventually(function() return info(schedule).runs >= 3 end, 20, "runs of the new kind")
    info(schedule)
    local row = assert(schedule:modify({ interval = 3600 }))
    assert(row.runs >= 3)
    assert.equal("b", client:job(waiting()[1]):info().job)
    assert(schedule:cancel())
  end)

  it("runs at a next run that was moved, then at its own times", function()
    local schedule = assert(queue:schedule("moved", { job = "tick", interval = 3600, ["repeat"] = 3 }))
    local at = math.floor(core.now() * 1000 + 300) / 1000
    assert(schedule:modify({ next_run = at }))
    eventually(function() return info(schedule).runs == 1 end, 20, "the run")
    assert.same({ ("moved-%.0f"):format(at * 1000) }, waiting())
    assert(math.abs(info(schedule).next_run - at - 3600) < 0.001)
    assert(schedule:modify({ next_run = 0 }))
    eventually(function() return info(schedule).runs == 2 end, 20, "the run that is due at once")
    assert(math.abs(info(schedule).next_run - core.now() - 3600) < 20)
  end)

  it("takes a record that another client wrote", function()
    local record = core.encode({ queue = queue.name, payload = { job = "foreign" }, interval = 0.1, extra = { 1, 2 } })
    assert(client.conn:kv_put("naq_schedules", "foreign", record))
    local schedule = assert(client:schedule("foreign"))
    eventually(function() return info(schedule).runs >= 2 end, 20, "its runs")
    local stored = core.decode(assert(client.conn:kv_get("naq_schedules", "foreign")))
    assert.same({ 1, 2 }, stored.extra)
    assert.equal("active", stored.state)
  end)

  it("is not stopped by records that are none, and marks what can be marked", function()
    local function put(id, text) assert(client.conn:kv_put("naq_schedules", id, text)) end
    put("bad1", "not JSON")
    put("bad2", '{"queue":"q","payload":{"job":"x"},"cron":"0 99 * * *"}')
    put("bad3", '{"queue":"q","payload":{"job":"x"},"interval":"soon"}')
    put("bad4", '{"queue":"q.q","payload":{"job":"x"},"interval":1}')
    put("bad5", '{"queue":"q","payload":{},"interval":1}')
    put("bad6", '{"queue":"q","payload":{"job":"x"},"interval":1,"cron":"* * * * *"}')
    put("bad7", '{"queue":"q","payload":{"job":"x"},"cron":"* * * * *","timezone":"Atlantis"}')
    put("bad8", "[]")
    local schedule = assert(queue:schedule("good", { job = "tick", interval = 0.1 }))
    eventually(function() return info(schedule).runs >= 2 end, 20, "the good one to run")
    for _, id in ipairs({ "bad2", "bad3", "bad4", "bad5", "bad6", "bad7" }) do
      local row
      eventually(function()
        row = assert(assert(client:schedule(id)):info())
        return row.state == "failed"
      end, 10, id .. " to be marked")
      assert.is_string(row.error.message)
    end
    assert.matches("at character 3, in the hour", client:schedule("bad2"):info().error.message)
  end)

  it("misses what is more than a minute late, and nothing else", function()
    local function late(id, seconds)
      local record = {
        v = 1, queue = queue.name, payload = { v = 1, job = "tick" }, interval = 3600, state = "active",
        anchor = core.now() - seconds - 3600, next_run = core.now() - seconds, misfire = "skip",
      }
      assert(client.conn:kv_put("naq_schedules", id, core.encode(record)))
      return assert(client:schedule(id))
    end
    local run, missed = late("run", 20), late("missed", 61)
    for _, schedule in ipairs({ run, missed }) do
      eventually(function() return (info(schedule).next_run or 0) > core.now() end, 20, "it to be settled")
    end
    assert.equal(1, info(run).runs)
    assert.equal(0, info(missed).runs)
    assert.equal(1, info(missed).skipped)
  end)

  it("runs the latest of missed times, none, or all up to a hundred", function()
    local now = math.floor(core.now())
    local function missed(id, misfire, seconds)
      local record = {
        v = 1, queue = queue.name, payload = { v = 1, job = "tick" }, interval = 10, anchor = now - seconds - 5,
        state = "active", next_run = now - seconds + 5, misfire = misfire,
      }
      assert(client.conn:kv_put("naq_schedules", id, core.encode(record)))
      return assert(client:schedule(id))
    end
    local function settled(schedule)
      eventually(function() return (info(schedule).next_run or 0) > core.now() end, 20, "it to catch up")
      local count = 0
      for _, id in ipairs(waiting()) do
        if id:find("^" .. schedule.id .. "%-") then count = count + 1 end
      end
      return count
    end
    -- The times of the last minute are late, not missed: six of them, or seven as the clock goes.
    local once = settled(missed("once", "once", 3600))
    assert(once >= 6 and once <= 8, once)
    local default = settled(missed("default", nil, 3600))
    assert(default >= 6 and default <= 8, default)
    local skip = settled(missed("skip", "skip", 3600))
    assert(skip >= 5 and skip <= 7, skip)
    local all = settled(missed("all", "all", 600))
    assert(all >= 59 and all <= 61, all)
    local most = settled(missed("most", "all", 36000))
    assert(most >= 105 and most <= 107, most)
  end)

  it("puts runs off by up to the jitter, and keeps their ids", function()
    local schedule = assert(queue:schedule("jitter", { job = "tick", interval = 0.2, jitter = 0.15, ["repeat"] = 6 }))
    local first = info(schedule).next_run
    eventually(function() return info(schedule).state == "finished" end, 20, "its runs")
    local ids, spread = waiting(), {}
    table.sort(ids)
    for i, id in ipairs(ids) do
      local due = first + (i - 1) * 0.2
      assert.equal(("jitter-%.0f"):format(due * 1000), id)
      spread[#spread + 1] = client:job(id):info().enqueued_at - due
    end
    table.sort(spread)
    assert.equal(6, #spread)
    assert(spread[6] - spread[1] > 0.01, spread[6] - spread[1])
  end)

  it("does not run by itself what another leader has run", function()
    local schedule = assert(queue:schedule("known", { job = "tick", interval = 0.1, ["repeat"] = 3 }))
    eventually(function() return info(schedule).state == "finished" end, 20, "its runs")
    local before = waiting()
    assert.equal(3, #before)
    -- The record as a leader leaves it that dies between a run and its record.
    local stored = core.decode(assert(client.conn:kv_get("naq_schedules", "known")))
    local runs = stored.recent
    stored.state, stored.runs, stored.recent, stored.done_until = "active", 0, core.array({}), nil
    stored.next_run = runs[1] / 1000
    scheduler:close()
    assert(client.conn:kv_put("naq_schedules", "known", core.encode(stored)))
    scheduler = assert(require("naq.scheduler").new({ servers = { server.url } }))
    eventually(function() return info(schedule).state == "finished" end, 20, "it to finish again")
    assert.same(before, waiting())
    assert.equal(3, info(schedule).runs)
  end)

  it("counts what a leader has run that died before it said so, however long ago", function()
    local due = math.floor(core.now()) - 600
    local function left_behind(id)
      local record = {
        v = 1, queue = queue.name, payload = { v = 1, job = "tick" }, interval = 3600, anchor = due - 3600,
        state = "active", next_run = due, misfire = "skip", runs = 1, ["repeat"] = 3,
      }
      assert(client.conn:kv_put("naq_schedules", id, core.encode(record)))
      return assert(client:schedule(id))
    end
    scheduler:close()
    -- One has ended, one is on its queue, one was never sent.
    assert(client.conn:kv_put("naq_results_7d", ("ended-%d000"):format(due), '{"state":"completed","job":"tick"}'))
    local subject = ("naq.q.%s.normal.waits-%d000"):format(queue.name, due)
    assert(client.conn:js_publish(subject, assert(core.payload("tick"))))
    local runs = { [left_behind("ended")] = 2, [left_behind("waits")] = 2, [left_behind("missed")] = 1 }
    -- Two on their queue, which must not overlap; only the first was written down.
    local soon = math.floor(core.now()) - 5
    for _, at in ipairs({ soon - 10, soon }) do
      assert(client.conn:js_publish(("naq.q.%s.normal.two-%d000"):format(queue.name, at), core.payload("tick")))
    end
    local two = {
      v = 1, queue = queue.name, payload = { v = 1, job = "tick" }, interval = 3600, anchor = soon - 3600,
      state = "active", next_run = soon, overlap = "skip", runs = 1, last_job = ("two-%d000"):format(soon - 10),
    }
    assert(client.conn:kv_put("naq_schedules", "two", core.encode(two)))
    runs[assert(client:schedule("two"))] = 2
    scheduler = assert(require("naq.scheduler").new({ servers = { server.url } }))
    for schedule, count in pairs(runs) do
      eventually(function() return (info(schedule).next_run or 0) > core.now() end, 20, "it to be settled")
      assert.equal(count, info(schedule).runs, schedule.id)
    end
    assert.equal(3, #waiting())
  end)

  it("gives one up that cannot be put on its queue, and goes on with it once it is resumed", function()
    local api = require("naq.jetstream_api")
    local stream = assert(api.call(client.conn, "STREAM.INFO", "naq_jobs"))
    local function largest(size)
      stream.config.max_msg_size = size
      assert(api.call(client.conn, "STREAM.UPDATE", "naq_jobs", stream.config))
    end
    scheduler:close()
    scheduler = assert(require("naq.scheduler").new({ servers = { server.url }, scheduler = { max_failures = 2 } }))
    local fine = assert(queue:schedule("small", { job = "t", interval = 0.2 }))
    largest(1000)
    local schedule = assert(queue:schedule("large", { job = "t", args = ("x"):rep(2000), interval = 0.2 }))
    eventually(function() return info(schedule).state == "failed" end, 20, "it to be given up")
    local row = info(schedule)
    assert.equal("TOO_LARGE", row.error.code)
    assert.is_nil(row.next_run)
    assert.equal(0, row.runs)
    local runs = info(fine).runs
    eventually(function() return info(fine).runs > runs end, 20, "the other one to go on")
    largest(-1)
    assert.equal("active", assert(schedule:resume()).state)
    eventually(function() return info(schedule).runs >= 2 end, 20, "it to go on")
    assert.is_nil(info(schedule).error)
  end)

  it("loses no run to those who change its schedule at the same time", function()
    local schedule = assert(queue:schedule("busy", { job = "t", interval = 0.05, ["repeat"] = 40 }))
    local changes = 0
    eventually(function()
      local row = assert(assert(client:schedule("busy")):modify({ args = changes }))
      changes = changes + 1
      return row.state == "finished"
    end, 30, "it to finish")
    assert(changes > 5, changes)
    local ids = waiting()
    assert.equal(40, #ids)
    assert.equal(40, info(schedule).runs)
    table.sort(ids)
    for i = 2, #ids do
      assert.equal(50, tonumber(ids[i]:match("%d+$")) - tonumber(ids[i - 1]:match("%d+$")))
    end
  end)

  it("loses no change of two who change its schedule at once", function()
    local schedule = assert(queue:schedule("counted", { job = "t", args = { n = 0 }, interval = 0.02 }))
    local both, times = {}, 100
    for i = 1, 2 do
      local program = support.root .. "/spec/nats/schedule_counter.lua"
      both[i] = support.process.start({ "run", "-u", server.url, program, "counted", times })
    end
    for _, one in ipairs(both) do
      one:ends(0, 60)
    end
    assert.equal(2 * times, info(schedule).args.n) -- no change was lost
    assert(schedule:pause())
    eventually(function() return #waiting() == info(schedule).runs end, 10, "all runs to be written down")
  end)

  it("writes runs down of one that is paused meanwhile", function()
    local schedule = assert(queue:schedule("paused", { job = "t", interval = 0.02 }))
    for _ = 1, 5 do
      eventually(function() return info(schedule).runs >= 1 end, 20, "a run")
      assert(schedule:pause())
      eventually(function() return #waiting() == info(schedule).runs end, 10, "all runs to be written down")
      assert.equal("paused", info(schedule).state)
      assert(schedule:resume())
    end
  end)

  describe("when the clock is set", function()
    local shifted = 0
    local function shift(seconds)
      core.shift_clock(seconds)
      shifted = shifted + seconds
    end
    after_each(function() shift(-shifted) end)

    local function ids_of(schedule)
      local ids = {}
      for _, id in ipairs(waiting()) do
        if id:find("^" .. schedule.id .. "%-") then ids[#ids + 1] = id end
      end
      table.sort(ids)
      return ids
    end

    it("forwards, runs what came due once, by its rule", function()
      local schedule = assert(queue:schedule("forth", { job = "t", interval = 600, misfire = "all" }))
      local first = info(schedule).next_run
      shift(3600)
      eventually(function() return info(schedule).runs == 6 end, 20, "an hour's runs")
      local ids = ids_of(schedule)
      for i, id in ipairs(ids) do
        assert.equal(("forth-%.0f"):format((first + (i - 1) * 600) * 1000), id)
      end
      assert.equal(6, #ids)
    end)

    it("backwards, runs no time twice", function()
      local schedule = assert(queue:schedule("back", { job = "t", interval = 0.1 }))
      eventually(function() return info(schedule).runs >= 3 end, 20, "some runs")
      shift(-30)
      local later = assert(queue:schedule("later", { job = "t", interval = 0.1, ["repeat"] = 3 }))
      eventually(function() return info(later).state == "finished" end, 20, "one of the new time to run")
      local settled = info(schedule).runs
      assert(schedule:pause())
      local row = assert(schedule:resume())
      assert(row.next_run > core.now() + 25, "the times that were run lie ahead of the clock")
      shift(30)
      eventually(function() return info(schedule).runs >= settled + 3 end, 20, "it to go on")
      assert(schedule:pause())
      eventually(function() return #ids_of(schedule) == info(schedule).runs end, 10, "its runs to be written down")
    end)

    it("runs a year of a schedule, day by day, at Berlin's three o'clock", function()
      local from = require("naq.moment").seconds("2027-01-01T12:00:00Z")
      shift(from - core.now())
      local schedule = assert(queue:schedule("year", {
        job = "t", cron = "30 2 * * *", timezone = "Europe/Berlin", misfire = "all", ["repeat"] = 365,
      }))
      local expected = core.cron_next("30 2 * * *", "Europe/Berlin", from, 365)
      for quarter = 1, 4 do
        shift(92 * 86400)
        eventually(function() return info(schedule).runs == math.min(92 * quarter, 365) end, 30, "quarter " .. quarter)
      end
      assert.equal("finished", info(schedule).state)
      local ids = ids_of(schedule)
      assert.equal(365, #ids)
      for i, id in ipairs(ids) do
        assert.equal(("year-%.0f"):format(expected[i] * 1000), id)
      end
    end)
  end)
end)
