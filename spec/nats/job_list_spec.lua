-- client:jobs(), client:each_job(), naq job list: jobs in every state, however many there are.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually, naq = support.nats, support.eventually, support.naq

local JOBS = support.root .. "/spec/nats/cancel_jobs.lua"
local FULL = os.getenv("NAQ_TEST_SCALE") == "full"

describe("listing jobs", function()
  local server, client, queue, other, worker
  local by_state = {}
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue, other = client:queue("listed"), client:queue("other")
    worker = support.start_worker({ url = server.url, queues = { "listed" }, jobs = { JOBS }, threads = 2 })
    local function ended(name, args, options)
      local job = assert(queue:enqueue(name, args, options))
      assert(job:wait(10))
      return job
    end
    by_state.completed = ended("brief", { n = 7, seconds = 0 })
    by_state.failed = ended("fail_once", {}, { max_retries = 0 })
    by_state.retry = assert(queue:enqueue("fail_once", {}))
    eventually(function() return by_state.retry:status() == "retry" end, 10)
    by_state.running = assert(queue:enqueue("loop", { kind = "sleep" }))
    eventually(function() return by_state.running:status() == "running" end, 10)
    by_state.pending = assert(other:enqueue("brief", { n = 1, seconds = 0 }, { priority = "low" }))
    by_state.cancelled = assert(other:enqueue("brief", { n = 2, seconds = 0 }))
    assert(by_state.cancelled:cancel())
    assert(ended("brief", { n = 8, seconds = 0 }, { result_ttl = 60 }))
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
  end)

  local function ids(list)
    local found = {}
    for i, info in ipairs(list) do
      found[i] = info.id
    end
    return found
  end

  it("has those in every state, what runs first and the latest end before the others", function()
    local list = assert(client:jobs())
    local states = {}
    for i, info in ipairs(list) do
      states[i] = info.state
    end
    assert.same({ "running", "pending", "retry", "completed", "cancelled", "failed", "completed" }, states)
    for state, job in pairs(by_state) do
      assert.is_truthy(table.concat(ids(list), " "):find(job.id, 1, true), state)
    end
  end)

  it("says of each what job:info() says", function()
    for _, info in ipairs(assert(client:jobs())) do
      local alone = assert(client:job(info.id):info())
      alone.args = info.args -- of a failed job they stand in its dead letter
      assert.same(alone, info)
    end
  end)

  it("takes a state, a queue and a number", function()
    for state, job in pairs(by_state) do
      local list = assert(client:jobs({ state = state }))
      assert.is_truthy(table.concat(ids(list), " "):find(job.id, 1, true), state)
      for _, info in ipairs(list) do
        assert.equal(state, info.state)
      end
    end
    assert.same({ by_state.pending.id, by_state.cancelled.id }, ids(assert(client:jobs({ queue = "other" }))))
    assert.same({ by_state.cancelled.id }, ids(assert(client:jobs({ queue = "other", state = "cancelled" }))))
    assert.same({}, assert(client:jobs({ queue = "nobody" })))
    assert.equal(3, #assert(client:jobs({ limit = 3 })))
    assert.has_error(function() client:jobs({ stat = "failed" }) end)
    assert.has_error(function() client:jobs({ state = "lost" }) end)
  end)

  it("prints the same on the command line", function()
    local status, out, errors = naq("job", "list", "-u", server.url, "--json")
    assert.equal(0, status, errors)
    local seen = {}
    for line in out:gmatch("[^\n]+") do
      seen[#seen + 1] = assert(core.decode(line))
    end
    assert.same(assert(client:jobs()), seen)
    status, out = naq("job", "list", "-u", server.url, "-q", "other", "--state", "pending", "--limit", "5")
    assert.equal(0, status)
    assert.matches("ID%s+JOB%s+QUEUE%s+STATE%s+ATTEMPT%s+WHEN", out)
    assert.matches(by_state.pending.id .. "%s+brief%s+other%s+pending%s+1", out)
    status, out = naq("job", "list", "-u", server.url, "-q", "nobody")
    assert.equal(0, status)
    assert.equal("no jobs\n", out)
    status, out, errors = naq("job", "list", "-u", server.url, "--state", "lost")
    assert.equal(2, status, out)
    assert.matches("state", errors)
  end)

  it("reads a store of any size in the same memory, and what it needs of it", function()
    local many = FULL and 50000 or 5000
    local own = server:client()
    local window = assert(own.conn:window())
    local text = '{"state":"%s","job":"brief","queue":"big","priority":"normal","attempt":1,"enqueued_at":%.3f,'
      .. '"finished_at":%.3f,"worker":"w"}'
    for i = 1, many do
      local state = i % 1000 == 0 and "failed" or "completed"
      assert(window:publish(("$KV.naq_results_1h.big-%06d"):format(i), text:format(state, core.now(), core.now())))
    end
    assert.equal(many, (assert(window:await(60))))
    window:close()
    collectgarbage()
    local before, most, count, last = collectgarbage("count"), 0, 0, math.huge
    for info, message in own:each_job({ queue = "big" }) do
      assert(info, message)
      local n = tonumber(info.id:match("%d+$"))
      assert.is_true(n < last)
      last, count = n, count + 1
      if count % 500 == 0 then
        collectgarbage()
        most = math.max(most, collectgarbage("count") - before)
      end
    end
    assert.equal(many, count)
    assert.is_true(most < 8192, ("%.0f KB"):format(most))
    local failed = assert(own:jobs({ queue = "big", state = "failed", limit = 3 }))
    assert.equal(3, #failed)
    assert.equal(("big-%06d"):format(many), failed[1].id)
    local begun = core.mono()
    assert.equal(10, #assert(own:jobs({ state = "completed", limit = 10 })))
    assert.is_true(core.mono() - begun < 2)
    own:close()
  end)
end)
