-- A worker's connection that breaks in the middle of a message: the rest of it never comes, and what the
-- next connection says is no part of it.

local core = require("naq.core")
local support = require("spec.support")
local cutter = require("spec.support.cutter")
local eventually, nats, start_worker = support.eventually, support.nats, support.start_worker

local JOBS = [[
local naq = require("naq")
naq.job("count", function(args) return { #args.before, #args.after, args.word } end)
]]

describe("a worker whose connection breaks within a message", function()
  local server, proxy, folder, worker, client

  setup(function()
    server = nats.start()
    proxy = cutter.start(server.port, "BREAK-HERE")
    folder = assert(core.mkdtemp("naq-spec-cut"))
    local f = assert(io.open(folder .. "/jobs.lua", "wb"))
    f:write(JOBS)
    f:close()
    worker = start_worker({
      url = proxy.url,
      queues = { "cut" },
      jobs = { folder .. "/jobs.lua" },
      threads = 2,
      env = { NAQ_QUEUES_ACK_WAIT = "1" },
    })
    client = server:client()
  end)

  teardown(function()
    client:close()
    worker:stop()
    proxy.stop()
    server:stop()
    core.rmtree(folder)
  end)

  it("runs that job whole, when it comes again, and those behind it", function()
    local list = {}
    for i = 1, 20 do
      local word = i == 5 and "BREAK-HERE" or "no"
      list[i] = { "count", { before = ("b"):rep(2000), word = word, after = ("a"):rep(3000) }, { max_retries = 0 } }
    end
    local jobs = assert(client:queue("cut"):enqueue_many(list))
    for i, job in ipairs(jobs) do
      assert.equal("completed", job:wait(30), worker:log())
      assert.same({ 2000, 3000, i == 5 and "BREAK-HERE" or "no" }, job:result())
    end
    assert.truthy(proxy.was_cut())
    eventually(function() return worker:log():find("connected again", 1, true) end, 10, "the worker's return")
    assert.is_nil(worker:log():find("dead letter", 1, true), worker:log())
  end)

  it("is well afterwards: it comes back once, not again and again", function()
    local job = assert(client:enqueue("count", { before = "", word = "x", after = "" }, { queue = "cut" }))
    assert.equal("completed", job:wait(10))
    local _, times = worker:log():gsub("connected again", "")
    assert.equal(1, times, worker:log())
  end)
end)
