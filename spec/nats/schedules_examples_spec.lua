-- examples/schedules: the job file under a worker, the program beside it.

local core = require("naq.core")
local interpreters = require("spec.support.interpreters")
local support = require("spec.support")

describe("examples/schedules", function()
  local server, client, worker, folder
  setup(function()
    server = support.nats.start()
    client = server:client()
    folder = assert(core.mkdtemp("naq-spec-examples"))
    worker = support.start_worker({ url = server.url, jobs = { support.root .. "/examples/schedules/jobs.lua" } })
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
    core.rmtree(folder)
  end)

  it("declares its schedules, and the one that is due runs", function()
    support.eventually(function()
      local sweeper = client:schedule("sweeper")
      return sweeper and assert(sweeper:info()).runs >= 1
    end, 20, "the sweeper to run")
    local job = assert(assert(client:schedule("sweeper")):runs())[1]
    assert.equal("completed", job:wait(20))
    local nightly = assert(assert(client:schedule("nightly")):info())
    assert.equal(core.cron_next("0 3 * * *", "Europe/Berlin")[1], nightly.next_run)
  end)

  for i, one in ipairs(interpreters.LIST) do
    it("makes and changes schedules on " .. one[1], function()
      local program = support.root .. "/examples/schedules/control.lua"
      local status, text = interpreters.run(one, { program }, folder .. "/out" .. i, server.url)
      assert.equal(0, status, text)
      assert.matches("burst: active, 3 runs left", text)
      local _, count = text:gsub("burst%-%d+", "%0")
      assert.equal(3, count)
    end)
  end
end)
