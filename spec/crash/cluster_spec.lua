-- A worker that is told of one server of a cluster, and that server dies.

local core = require("naq.core")
local naq = require("naq")
local cluster = require("spec.support.cluster")
local support = require("spec.support")
local eventually, trail = support.eventually, support.trail

describe("a worker that knows one server of three", function()
  local three, client, side, worker
  before_each(function()
    three = cluster.start()
    side = trail.new()
    client = assert(naq.connect({ servers = three.urls }))
    eventually(function() return client:ensure_layout() end, 40, "the cluster to have a leader")
    worker = support.start_worker({
      url = three.urls[1],
      queues = { "mail" },
      jobs = { support.root .. "/spec/crash/jobs/marks.lua" },
      env = { NAQ_WORKER_HEARTBEAT_INTERVAL = "2", NAQ_DEFAULT_ACK_WAIT = "5" },
    })
    eventually(function() return worker:log():find("scheduler .* ready after") end, 20, "it to lead")
  end)
  after_each(function()
    support.process.stop_all()
    client:close()
    three:stop()
    side:remove()
  end)

  it("goes on with the others: jobs, delayed jobs and schedules", function()
    local queue, first = client:queue("mail"), core.now() + 1
    local entries = {}
    for i = 1, 120 do
      entries[i] = { "mark", side:args({ n = i }), { at = first + i / 10 } }
    end
    local jobs = assert(queue:enqueue_many(entries))
    assert(queue:schedule("every", { job = "mark", args = side:args(), interval = 1 }))
    side:reaches(10)
    three.servers[1]:kill()
    for _, job in ipairs(jobs) do
      assert.equal("completed", job:wait(40))
    end
    local runs = side:runs()
    for _, job in ipairs(jobs) do
      assert.equal(1, #runs[job.id])
    end
    local function runs_of() return assert(client:schedule("every"):info()).runs end
    local before = runs_of()
    eventually(function() return runs_of() > before end, 20, "the schedule to run on")
    eventually(function()
      local list = client:workers()
      return list and #list == 1 and not list[1].stale
    end, 20, "its record to be there, and renewed")
  end)
end)
