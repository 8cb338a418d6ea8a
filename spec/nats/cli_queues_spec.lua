-- queue list, stats and purge, workers and doctor: what the command line knows about the whole.

local core = require("naq.core")
local support = require("spec.support")
local naq, eventually = support.naq, support.eventually
local unpack = table.unpack or unpack -- luacheck: ignore

-- One decoded object for each line.
local function objects(out)
  local list = {}
  for line in out:gmatch("[^\n]+") do
    list[#list + 1] = assert(core.decode(line))
  end
  return list
end

describe("on an empty server", function()
  local server
  setup(function() server = support.nats.start() end)
  teardown(function() server:stop() end)

  local function run(...) return naq("-u", server.url, ...) end

  it("doctor finds no problem and creates nothing", function()
    local status, out, errors = run("doctor", "--json")
    assert.equal(0, status, errors .. out)
    local report = assert(core.decode(out))
    assert.is_true(report.ok)
    assert.equal(0, #report.problems)
    assert.equal(server.url, report.server.url)
    assert.is_number(report.server.rtt)
    assert.is_true(report.jetstream.enabled)
    local pool = report.connections.pools[1]
    assert.same({ server.url, 1, 1, 0 }, { pool.servers, pool.opened, pool.active, pool.failed })
    assert.is_true(report.connections.mean_connect_time > 0)
    for _, stream in ipairs(report.streams) do
      assert.equal("missing", stream.state, stream.name)
    end
    out = select(2, run("doctor", "--json"))
    assert.equal(0, core.decode(out).jetstream.streams)
  end)

  it("the listings are empty: nothing with --json, a hint for people", function()
    for _, command in ipairs({ { "queue", "list" }, { "workers" }, { "list-workers" } }) do
      local status, out, errors = run("--json", unpack(command))
      assert.equal(0, status, errors)
      assert.equal("", out)
      status, out = run(unpack(command))
      assert.equal(0, status)
      assert.truthy(out:find("naq ", 1, true), out)
    end
  end)
end)

describe("on a server with queues", function()
  local server, queue
  setup(function()
    server = support.nats.start()
    queue = support.fresh_name()
  end)
  teardown(function() server:stop() end)

  local function run(...) return naq("-u", server.url, ...) end

  local function fill(name, n)
    local client = server:client()
    for _ = 1, n do
      assert(client:enqueue("noop", nil, { queue = name }))
    end
    client:close()
  end

  it("stats has the documented shape, also for a queue that is not there", function()
    fill(queue, 3)
    local none = support.fresh_name()
    local status, out, errors = run("queue", "stats", queue, none, "--json")
    assert.equal(0, status, errors)
    local rows = objects(out)
    assert.same({
      { queue = queue, pending = 3, running = 0, delayed = 0, failed = 0, paused = false, workers = 0 },
      { queue = none, pending = 0, running = 0, delayed = 0, failed = 0, paused = false, workers = 0 },
    }, rows)
  end)

  it("list has a line for each queue, served or not", function()
    fill(queue, 1)
    local status, out, errors = run("queue", "list", "--json")
    assert.equal(0, status, errors)
    local found
    for _, row in ipairs(objects(out)) do
      found = found or row.queue == queue
    end
    assert.is_true(found)
    out = select(2, run("queue", "list"))
    assert.truthy(out:find("QUEUE%s+PENDING%s+RUNNING%s+DELAYED%s+FAILED"), out)
    assert.falsy(out:find("\27", 1, true), "colours off a terminal")
  end)

  it("purge removes what waits, under both names, without asking off a terminal", function()
    for _, command in ipairs({ { "queue", "purge" }, { "purge" } }) do
      local name = support.fresh_name()
      fill(name, 4)
      command[#command + 1] = name
      command[#command + 1] = "--json"
      local status, out, errors = run(unpack(command))
      assert.equal(0, status, errors)
      assert.same({ { queue = name, purged = 4 } }, objects(out))
      local _, stats = run("queue", "stats", name, "--json")
      assert.equal(0, objects(stats)[1].pending)
    end
  end)

  it("purge asks on a terminal, and takes no answer for a no", function()
    local terminal = io.open("/dev/ptmx", "r+")
    if not terminal then return pending("no pseudo-terminals here (a chroot without /dev/pts)") end
    terminal:close()
    local name = support.fresh_name()
    fill(name, 2)
    local purge = ("%s -u %s queue purge %s"):format(support.root .. "/bin/naq", server.url, name)
    local dir = assert(core.mkdtemp("naq-spec-tty"))
    local function on_terminal(command)
      local pid = assert(core.spawn({ "script", "-qec", command, "/dev/null" }, { stdout = dir .. "/out" }))
      return select(2, core.wait(pid, 30))
    end
    assert.equal(1, on_terminal(purge))
    local file = assert(io.open(dir .. "/out"))
    local out = file:read("*a")
    file:close()
    assert.truthy(out:find("Remove all waiting jobs of " .. name, 1, true), out)
    local _, stats = run("queue", "stats", name, "--json")
    assert.equal(2, objects(stats)[1].pending)
    assert.equal(0, on_terminal(purge .. " --yes"))
    core.rmtree(dir)
    _, stats = run("queue", "stats", name, "--json")
    assert.equal(0, objects(stats)[1].pending)
  end)

  it("refuses a name that cannot be a queue", function()
    local status, _, errors = run("queue", "stats", "a.b")
    assert.equal(2, status)
    assert.truthy(errors:find("'a.b' is not a queue name", 1, true), errors)
  end)

  it("doctor sees the streams, and names one that differs", function()
    fill(queue, 1)
    local status, out = run("doctor", "--json")
    assert.equal(0, status, out)
    local report = assert(core.decode(out))
    local by_name = {}
    for _, stream in ipairs(report.streams) do
      by_name[stream.name] = stream
    end
    assert.equal("ok", by_name.naq_jobs.state)
    assert.is_true(by_name.naq_jobs.messages >= 1)
    assert.is_true(math.abs(report.server.clock_difference) < 1)

    local conn = server:connect()
    local data = assert(conn:request("$JS.API.STREAM.INFO.naq_events", "", 5))
    local config = core.decode(data).config
    config.max_bytes = 1000
    assert(conn:request("$JS.API.STREAM.UPDATE.naq_events", assert(core.encode(config)), 5))
    conn:close()
    status, out = run("doctor", "--json")
    assert.equal(1, status)
    report = assert(core.decode(out))
    assert.is_false(report.ok)
    assert.equal(1, #report.problems)
    assert.truthy(report.problems[1]:find("naq_events", 1, true))
  end)
end)

describe("workers", function()
  local server, dir, worker
  setup(function()
    server = support.nats.start()
    dir = assert(core.mkdtemp("naq-spec-workers"))
    local file = assert(io.open(dir .. "/jobs.lua", "w"))
    file:write('require("naq").job("noop", function() end)')
    file:close()
    worker = support.start_worker({
      url = server.url,
      queues = { "mail", "images" },
      jobs = { dir .. "/jobs.lua" },
      threads = 3,
      name = "ada",
      env = { NAQ_WORKER_HEARTBEAT_INTERVAL = "0.5" },
    })
  end)
  teardown(function()
    worker:stop()
    server:stop()
    core.rmtree(dir)
  end)

  it("lists what is known about each", function()
    local rows
    eventually(function()
      local _, out = naq("workers", "--json", "-u", server.url)
      rows = objects(out)
      return #rows == 1 and rows[1].state == "idle", out
    end, 10, "the worker to be listed")
    local row = rows[1]
    assert.truthy(row.id:find("^ada%-"))
    assert.equal(worker.pid, row.pid)
    assert.equal(core.hostname(), row.host)
    assert.equal(3, row.threads)
    assert.equal(0, row.done)
    assert.equal(0, #row.running)
    assert.is_false(row.stale)
    table.sort(row.queues)
    assert.same({ "images", "mail" }, { row.queues[1], row.queues[2] })
    assert.is_true(row.started_at <= row.seen_at)

    local status, out = naq("workers", "-u", server.url)
    assert.equal(0, status)
    assert.truthy(out:find("WORKER%s+STATE%s+QUEUES"), out)
    assert.truthy(out:find(row.id, 1, true), out)
    local _, stats = naq("queue", "stats", "mail", "--json", "-u", server.url)
    assert.equal(1, objects(stats)[1].workers)
    assert.is_true(row.memory > 1e6)
    assert.equal(require("naq.version"), row.version)
  end)

  it("marks one that has missed its heartbeats as stale, until it is back", function()
    local function listed()
      local _, out = naq("workers", "--json", "-u", server.url)
      return objects(out)[1]
    end
    worker:freeze()
    eventually(function() return listed().stale end, 10, "the worker to be stale")
    local _, out = naq("workers", "-u", server.url)
    assert.matches("ada%-%S+%s+stale", out)
    local _, stats = naq("queue", "stats", "mail", "--json", "-u", server.url)
    assert.equal(0, objects(stats)[1].workers)
    worker:thaw()
    eventually(function() return not listed().stale end, 10, "the worker to be back")
  end)

  it("counts what each has done and what of that failed", function()
    local client = server:client()
    local mail = client:queue("mail")
    assert.equal("completed", assert(mail:enqueue("noop")):wait(10))
    assert.equal("failed", assert(mail:enqueue("unknown", nil, { max_retries = 0 })):wait(10))
    eventually(function()
      local row = client:workers()[1]
      return row.done == 2 and row.failed == 1, core.encode(row)
    end, 5)
    client:close()
  end)
end)

describe("doctor", function()
  it("names JetStream when the server has none, exit code 1", function()
    local server = support.nats.start({ jetstream = false })
    local status, out, errors = naq("doctor", "--json", "-u", server.url)
    server:stop()
    assert.equal(1, status, errors)
    local report = assert(core.decode(out))
    assert.is_false(report.ok)
    assert.is_false(report.jetstream.enabled)
    assert.truthy(report.problems[1]:find("JetStream is not enabled", 1, true))
  end)
end)
