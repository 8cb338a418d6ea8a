-- Schedules declared in job files: created, left alone, changed, missed, with real workers.

local core = require("naq.core")
local support = require("spec.support")
local eventually = support.eventually

describe("naq.schedule() in a job file", function()
  local at = support.scheduled()
  local server, client, folder, worker
  setup(function() server, client = at:begin() end)
  teardown(function() at:finish() end)
  before_each(function() folder = assert(core.mkdtemp("naq-spec-declare")) end)
  after_each(function()
    if worker then worker:stop() end
    worker = nil
    core.rmtree(folder)
    at:forget()
  end)

  local function write(text, name)
    local f = assert(io.open(folder .. "/" .. (name or "jobs.lua"), "wb"))
    f:write('local naq = require("naq")\nnaq.job("work", function(args) return args end)\n', text)
    f:close()
  end

  -- A worker that has read its files, and its log.
  local function start(threads)
    if worker then worker:stop() end
    worker = support.start_worker({ url = server.url, jobs = { folder .. "/jobs.lua" }, threads = threads or 2 })
    eventually(function() return worker:log():find(": ready, threads", 1, true) or worker:wait(0) ~= "running" end, 20,
      "the worker to be ready")
    return worker:log()
  end

  local function info(id) return assert(assert(client:schedule(id)):info()) end

  it("creates it, once for all threads, and it runs", function()
    write('naq.schedule("every", { job = "work", args = { n = 7 }, interval = 0.2 })')
    start(4)
    eventually(function() return info("every").runs >= 2 end, 20, "its runs")
    local row = info("every")
    assert.equal(folder .. "/jobs.lua", row.file)
    local job = client:job(row.last_job)
    assert.equal("completed", job:wait(20))
    assert.same({ n = 7 }, job:result())
  end)

  it("leaves it alone when nothing has changed: paused, modified or cancelled", function()
    write([[
      naq.schedule("a", { job = "work", cron = "0 3 * * *" })
      naq.schedule("b", { job = "work", cron = "0 3 * * *" })
      naq.schedule("c", { job = "work", cron = "0 3 * * *" })
    ]])
    start()
    assert(client:schedule("a"):pause())
    assert(client:schedule("b"):cancel())
    assert(client:schedule("c"):modify({ cron = "0 4 * * *" }))
    local before = {}
    for _, id in ipairs({ "a", "b", "c" }) do
      before[id] = select(2, client.conn:kv_get("naq_schedules", id))
    end
    start()
    for id, revision in pairs(before) do
      assert.equal(revision, (select(2, client.conn:kv_get("naq_schedules", id))), id)
    end
    assert.equal("0 4 * * *", info("c").cron)
  end)

  it("follows what has changed, and keeps who is paused so", function()
    write('naq.schedule("a", { job = "work", cron = "0 3 * * *" })\nnaq.schedule("b", { job = "work", interval = 60 })')
    start()
    assert(client:schedule("b"):pause())
    write('naq.schedule("a", { job = "work", interval = 3600 })\nnaq.schedule("b", { job = "work", interval = 30 })')
    local log = start()
    assert.matches("schedule a: changed, as .*jobs.lua declares it", log)
    assert.equal(3600, info("a").interval)
    assert.is_nil(info("a").cron)
    assert.equal("active", info("a").state)
    assert.equal(30, info("b").interval)
    assert.equal("paused", info("b").state)
  end)

  it("follows enabled, when that has changed", function()
    local text = 'naq.schedule("a", { job = "work", cron = "0 3 * * *", enabled = %s })'
    write(text:format("false"))
    start()
    assert.equal("paused", info("a").state)
    write(text:format("true"))
    start()
    assert.equal("active", info("a").state)
    write(text:format("false"))
    start()
    assert.equal("paused", info("a").state)
    assert(client:schedule("a"):cancel())
    write(text:format("true"))
    start()
    assert.equal("cancelled", info("a").state)
  end)

  it("reports what has gone from its file, and keeps it", function()
    write('naq.schedule("a", { job = "work", cron = "0 3 * * *" })')
    start()
    write("")
    assert.matches("schedule a: .*jobs.lua does not declare it any more.*naq schedule cancel a", start())
    assert.equal("active", info("a").state)
    assert(client:schedule("a"):cancel())
    assert.not_matches("does not declare", start())
  end)

  it("leaves alone what was made by hand", function()
    assert(client:schedule("a", { job = "other", interval = 3600 }))
    write('naq.schedule("a", { job = "work", cron = "0 3 * * *" })')
    assert.matches("schedule a: it was made by hand", start())
    assert.equal("other", info("a").job)
  end)

  it("is read again on SIGHUP", function()
    write('naq.schedule("a", { job = "work", cron = "0 3 * * *" })')
    start()
    write('naq.schedule("a", { job = "work", cron = "0 5 * * *" })')
    assert(core.kill(worker.pid, "HUP"))
    eventually(function() return info("a").cron == "0 5 * * *" end, 20, "the new declaration")
  end)

  it("ends the start when it is wrong, with file, line and position", function()
    write('naq.schedule("a", { job = "work", cron = "0 33 * * *" })')
    start()
    assert.equal("exited", (worker:wait(20)))
    assert.matches("jobs.lua:3: .*at character 3, in the hour", worker:log())
    write('naq.schedule("a", { job = "work", crom = "0 3 * * *" })')
    start()
    assert.matches("jobs.lua:3: unknown option 'crom'", worker:log())
    write('naq.schedule("a", { job = "work", interval = 5 })\nnaq.schedule("a", { job = "work", interval = 5 })')
    start()
    assert.matches("jobs.lua:4: schedule a is declared twice", worker:log())
    assert.same({}, client:schedules())
  end)
end)
