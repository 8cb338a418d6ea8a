-- The pace of Lua's collector in a worker's states.

local core = require("naq.core")
local support = require("spec.support")

describe("a worker's states collect garbage", function()
  local server, client, dir
  setup(function()
    server = support.nats.start()
    client = server:client()
    dir = assert(core.mkdtemp("naq-spec-collector"))
  end)
  teardown(function()
    client:close()
    server:stop()
    core.rmtree(dir)
  end)

  -- As a job finds it, of a file that begins with `chosen`.
  local function pace(chosen)
    local path = dir .. "/jobs.lua"
    local file = assert(io.open(path, "wb"))
    file:write(chosen, '\nrequire("naq").job("pace", function() return collectgarbage("setpause", 200) end)\n')
    file:close()
    local queue = client:queue(support.fresh_name())
    local job = assert(queue:enqueue("pace"))
    local status, _, errors = support.naq("worker", queue.name, "-u", server.url, "--jobs", path, "--burst")
    assert.equal(0, status, errors)
    return assert(job:result())
  end

  it("at Lua's own pace", function() assert.equal(200, pace("")) end)

  it("at one that a job file has chosen", function()
    assert.equal(400, pace('collectgarbage("setpause", 400)'))
  end)
end)
