-- Jobs put off: enqueue_in, enqueue_at, the options delay and at, alone and by the hundred; what may be known
-- of them while they wait.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local moment = require("naq.moment")

local function refusal(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return message
end

describe("a job for later", function()
  local server, client, worker, queue
  setup(function()
    server = support.nats.start()
    client = server:client()
    queue = client:queue(support.fresh_name())
    worker = support.start_worker({
      url = server.url,
      queues = { queue.name },
      jobs = { support.root .. "/spec/nats/jobs.lua" },
    })
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
  end)

  it("runs after so many seconds, and not before", function()
    local before = core.now()
    local job = assert(queue:enqueue_in(0.4, "echo", 7))
    assert.equal("completed", job:wait(20))
    assert.equal(7, job:result())
    local started = job:info().started_at
    assert(started >= before + 0.4, started - before)
  end)

  it("runs at a time: epoch seconds or ISO 8601", function()
    local due = core.now() + 0.3
    local one = assert(queue:enqueue_at(due, "echo", 1))
    local two = assert(queue:enqueue_at(moment.utc(due), "echo", 2))
    for _, job in ipairs({ one, two }) do
      assert.equal("completed", job:wait(20))
      assert(job:info().started_at >= due - 0.001)
    end
  end)

  it("runs at once when its time has passed", function()
    for _, at in ipairs({ 0, -5, core.now() - 1, "2001-01-01", "2001-01-01T00:00:00+05:45" }) do
      local job = assert(queue:enqueue_at(at, "echo", 1))
      assert.equal("completed", job:wait(20))
    end
    assert.equal("completed", assert(queue:enqueue_in(0, "echo")):wait(20))
  end)

  it("is scheduled until then, and says when it runs", function()
    local job = assert(queue:enqueue_at("2099-01-01T12:00:00+01:00", "echo", { a = 1 }, { priority = "high" }))
    assert.equal("scheduled", job:status())
    local info = assert(job:info())
    assert.equal(moment.seconds("2099-01-01T11:00:00Z"), info.run_at)
    assert.equal("high", info.priority)
    assert.equal(queue.name, info.queue)
    assert.same({ a = 1 }, info.args)
    assert.equal("NOT_FINISHED", select(3, job:result()))
  end)

  it("keeps its own id, once", function()
    local id = support.fresh_name()
    assert(queue:enqueue_in(3600, "echo", nil, { id = id }))
    local job, _, code = queue:enqueue_in(7200, "echo", nil, { id = id })
    assert.is_nil(job)
    assert.equal("DUPLICATE", code)
    assert.equal("DUPLICATE", select(3, queue:enqueue("echo", nil, { id = id })))
  end)

  it("may be one of many", function()
    local before = core.now()
    local list = { { "echo", 0 } }
    for i = 1, 20 do
      list[#list + 1] = { "echo", i, { delay = 0.2 } }
    end
    list[#list + 1] = { "echo", 99, { at = "2099-01-01" } }
    list[#list + 1] = { "echo", 100, { at = "2001-01-01" } }
    list[#list + 1] = { "echo", 101, { at = 978307200 } }
    list[#list + 1] = { "echo", 102, { at = 4070908800 } }
    list[#list + 1] = { "echo", 103, { at = 4070908800, priority = "low" } }
    list[#list + 1] = { "echo", 104, { delay = 0 } }
    list[#list + 1] = { "echo", 105, { delay = 1e15 } }
    local jobs, refused = queue:enqueue_many(list)
    assert.equal("scheduled", jobs[22]:status())
    assert.equal(4070908800, assert(jobs[25]:info()).run_at)
    assert.equal("low", assert(jobs[26]:info()).priority)
    assert.is_false(jobs[28])
    assert.equal("INVALID", refused[28].code)
    for i = 1, 21 do
      assert.equal("completed", jobs[i]:wait(20))
      assert.equal(i - 1, jobs[i]:result())
      if i > 1 then assert(jobs[i]:info().started_at >= before + 0.2) end
    end
    assert.equal("completed", jobs[23]:wait(20))
    assert.equal("completed", jobs[24]:wait(20))
    assert.equal("completed", jobs[27]:wait(20))
  end)

  it("is refused among many as it is alone", function()
    local function many(opts) return refusal(queue.enqueue_many, queue, { { "echo", 1, opts } }) end
    assert.matches("option 'delay' must be at least 0", many({ delay = -1 }))
    assert.matches("option 'delay' must be a number", many({ delay = 0 / 0 }))
    assert.matches("option 'at' must be", many({ at = 0 / 0 }))
    assert.matches("option 'at' must be", many({ at = 1e15 }))
    assert.matches("exclude each other", many({ delay = 4, at = 5 }))
    assert.matches("unknown option 'atr'", many({ atr = 5 }))
    assert.matches("options must be a table", many(5))
  end)

  it("survives a restart of the server", function()
    local own = support.nats.start()
    local its = own:client()
    local job = assert(its:queue("later"):enqueue_in(3600, "echo"))
    own:kill()
    own:restart()
    support.eventually(function() return job:status() == "scheduled" end, 20, "the job to be found again")
    its:close()
    own:stop()
  end)

  it("stands in the list, however many there are, in the same memory", function()
    local many, list = os.getenv("NAQ_TEST_SCALE") == "full" and 100000 or 5000, {}
    local own, other = client:queue(support.fresh_name()), client:queue(support.fresh_name())
    for i = 1, many do
      list[i] = { "echo", i, { delay = 3600 + i } }
    end
    assert(own:enqueue_many(list))
    assert(other:enqueue_in(3600, "echo", "other"))
    list = nil -- luacheck: ignore
    collectgarbage()
    local before, most, sum, count = collectgarbage("count"), 0, 0, 0
    for row, message in client:each_job({ queue = own.name, state = "scheduled" }) do
      assert(row, message)
      assert(row.run_at > core.now() + 3000)
      sum, count = sum + row.args, count + 1
      if count % 1000 == 0 then
        collectgarbage()
        most = math.max(most, collectgarbage("count") - before)
      end
    end
    assert.equal(many, count)
    assert.equal(many * (many + 1) / 2, sum)
    assert(most < 1024, ("%.0f KB"):format(most))
    local rows = assert(client:jobs({ queue = other.name, state = "scheduled" }))
    assert.equal("other", rows[1].args)
    assert.equal(1, #rows)
    local status, out = support.naq("job", "list", "-u", server.url, "-q", other.name, "--state", "scheduled", "--json")
    assert.equal(0, status)
    assert.equal(rows[1].id, core.decode(out).id)
  end)

  it("refuses times that are none", function()
    local message = refusal(queue.enqueue_at, queue, "soon", "echo")
    assert.matches("option 'at' must be epoch seconds or an ISO 8601 time", message)
    assert.matches("option 'delay' must be at least 0", refusal(queue.enqueue_in, queue, -1, "echo"))
    assert.matches("a number of seconds expected", refusal(queue.enqueue_in, queue, "5", "echo"))
    assert.matches("a time is a number or a string", refusal(queue.enqueue_at, queue, nil, "echo"))
    assert.matches("given twice", refusal(queue.enqueue_in, queue, 5, "echo", nil, { delay = 4 }))
    assert.matches("exclude each other", refusal(queue.enqueue, queue, "echo", nil, { delay = 4, at = 5 }))
    assert.matches("options must be a table", refusal(queue.enqueue_in, queue, 5, "echo", nil, 3))
    local job, _, code = queue:enqueue_in(1e15, "echo")
    assert.is_nil(job)
    assert.equal("INVALID", code)
  end)

  it("blames the caller's line", function()
    local message = refusal(function() client:enqueue_in(-1, "echo") end)
    assert.matches("delayed_jobs_spec.lua:%d+: option 'delay'", message)
    message = refusal(function() queue:enqueue_at("x", "echo") end)
    assert.matches("delayed_jobs_spec.lua:%d+: option 'at'", message)
  end)

  it("comes from the default client and the command line too", function()
    -- The first client of a program is its default one.
    assert.equal("scheduled", assert(naq.enqueue_in(3600, "echo", nil, { queue = queue.name })):status())
    assert.equal("scheduled", assert(naq.enqueue_at("2099-01-01", "echo", nil, { queue = queue.name })):status())

    local function enqueue(...) return support.naq("enqueue", "echo", "-u", server.url, "-q", queue.name, ...) end
    local status, out = enqueue("--in", "3600", "--json")
    assert.equal(0, status)
    assert.equal("scheduled", client:job(core.decode(out).id):status())
    status, out = enqueue("--at", "2099-01-01T00:00:00Z")
    assert.equal(0, status)
    assert.equal(4070908800, client:job(out:match("%S+")):info().run_at)
    assert.equal(2, (enqueue("--at", "soon")))
    assert.equal(2, (enqueue("--in", "5", "--at", "2099-01-01")))
  end)
end)
