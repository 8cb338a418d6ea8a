-- How long dead letters are kept, and how many: as the configuration says, from whoever makes their stream.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

local JOBS = support.root .. "/spec/nats/jobs.lua"

describe("the store of dead letters", function()
  local server, dir, client, queue, letters
  before_each(function()
    server = nats.start()
    dir = assert(core.mkdtemp("naq-spec-letters"))
    client = server:client()
    queue, letters = client:queue("q"), client:failed()
  end)
  after_each(function()
    support.process.stop_all()
    client:close()
    server:stop()
    core.rmtree(dir)
  end)

  -- So many dead letters of a worker that was the first on this server.
  local function bury(configuration, count)
    local f = assert(io.open(dir .. "/naq.yaml", "wb"))
    f:write(configuration)
    f:close()
    local worker = support.start_worker({
      url = server.url, queues = { "q" }, jobs = { JOBS }, threads = 2, args = { "--config", dir .. "/naq.yaml" },
    })
    eventually(function() return worker:log():find("ready", 1, true) end, 10)
    local entries = {}
    for i = 1, count do
      entries[i] = { "raise_text", { n = i, filling = ("x"):rep(1000) }, { max_retries = 0 } }
    end
    local jobs = assert(queue:enqueue_many(entries))
    for _, job in ipairs(jobs) do
      assert.equal("failed", job:wait(20))
    end
    return jobs
  end

  -- Their records stay; what the job was given is gone with the letter.
  local function is_gone(job)
    assert.equal("failed", job:status())
    local done, message, code = job:retry()
    assert.same({ nil, "JOB_NOT_FOUND" }, { done, code })
    assert.matches("its dead letter is gone, and with it what it was given", message)
  end

  it("forgets the oldest when it is full", function()
    local jobs = bury("failed: { max_bytes: 40KB }\n", 60)
    local count = assert(letters:count("q"))
    assert.is_true(count > 10 and count < 40, count)
    assert.equal(count, #assert(letters:list({ limit = 100 })))
    is_gone(jobs[1])
  end)

  it("forgets what is too old", function()
    local job = bury("failed: { max_age: 1 }\n", 1)[1]
    eventually(function() return letters:count("q") == 0 end, 20, "the letter to be too old")
    is_gone(job)
  end)
end)
