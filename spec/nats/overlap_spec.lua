-- Schedules whose runs must not overlap: what is left out or held while the run before has not ended.

local core = require("naq.core")
local support = require("spec.support")
local eventually = support.eventually

describe("a schedule whose runs must not overlap", function()
  local at = support.scheduled()
  local server, client, queue, scheduler
  setup(function() server, client = at:begin() end)
  teardown(function() at:finish() end)
  before_each(function() queue, scheduler = at:schedule() end)
  after_each(function()
    scheduler:close()
    at:forget()
  end)

  local function waiting() return at:waiting() end

  local function info(schedule) return assert(schedule:info()) end

  it("leaves runs out while the one before has not ended", function()
    local schedule = assert(queue:schedule("skip", { job = "slow", interval = 0.1, overlap = "skip" }))
    eventually(function() return (info(schedule).skipped or 0) >= 3 end, 20, "three to be left out")
    assert.equal(1, #waiting())
    assert.equal(1, info(schedule).runs)
  end)

  it("holds one run until the one before has ended", function()
    local schedule = assert(queue:schedule("one", { job = "echo", interval = 0.1, overlap = "queue_one" }))
    eventually(function()
      local stored = core.decode(assert(client.conn:kv_get("naq_schedules", "one")))
      return stored.held == true
    end, 20, "one to be held")
    assert.equal(1, #waiting())
    local worker = support.start_worker({
      url = server.url, queues = { queue.name }, jobs = { support.root .. "/spec/nats/jobs.lua" },
      args = { "--no-scheduler" },
    })
    eventually(function() return info(schedule).runs >= 2 end, 20, "the held one to run")
    assert.equal(0, info(schedule).skipped or 0)
    worker:stop()
  end)

  it("shows a run that runs, and leaves others out meanwhile, also when its worker dies", function()
    local gate = assert(core.mkdtemp("naq-spec-gate"))
    local function start()
      return support.start_worker({
        url = server.url, queues = { queue.name }, jobs = { support.root .. "/spec/crash/jobs/marks.lua" },
        args = { "--no-scheduler" },
      })
    end
    assert(queue:configure({ ack_wait = 1 }))
    local worker = start()
    local schedule = assert(queue:schedule("held", {
      job = "hold", args = { trail = gate .. "/trail", gate = gate .. "/gate" }, interval = 0.2, overlap = "skip",
    }))
    eventually(function() return info(schedule).last_state == "running" end, 20, "its run")
    assert.equal("running", client:schedules()[1].last_state)
    worker:kill()
    local skipped = info(schedule).skipped or 0
    eventually(function() return (info(schedule).skipped or 0) > skipped + 3 end, 20, "others to be left out")
    assert.equal(1, info(schedule).runs)
    assert(io.open(gate .. "/gate", "wb")):close()
    local again = start()
    eventually(function() return info(schedule).runs >= 2 end, 30, "the next one, once the first has ended")
    assert(schedule:cancel())
    again:stop()
    worker:stop()
    core.rmtree(gate)
  end)

  it("tells how a run stands from its record, whatever the job returns", function()
    local worker = support.start_worker({
      url = server.url, queues = { queue.name }, jobs = { support.root .. "/spec/nats/jobs.lua" },
      args = { "--no-scheduler" },
    })
    local schedule = assert(queue:schedule("odd", {
      job = "echo", args = { state = "running" }, interval = 0.2, overlap = "skip", ["repeat"] = 3,
    }))
    eventually(function() return info(schedule).state == "finished" end, 20, "its runs")
    worker:stop()
  end)
end)
