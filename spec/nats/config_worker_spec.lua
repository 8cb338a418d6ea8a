-- The settings of workers, queues, results and the log, from a file to what can be seen of them.

local core = require("naq.core")
local jetstream_api = require("naq.jetstream_api")
local support = require("spec.support")
local eventually, naq, nats = support.eventually, support.naq, support.nats

local folder, server, worker

local function write(name, text)
  local path = folder .. "/" .. name
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function read(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local text = f:read("*a")
  f:close()
  return text
end

local JOBS = [[
local naq = require("naq")
naq.job("double", function(args) return args * 2 end)
naq.job("fail", function() error("no") end)
naq.job("forward", function(args, job) return assert(job:enqueue("double", args)).id end)
]]

local function connect(options)
  options = options or {}
  options.client_name = "spec"
  return server:client(options)
end

--- The names that clients of the server gave themselves.
local function names_of_connections()
  local names = {}
  local client = connect({ user = "sys", password = "sys" })
  local text = assert(client.conn:request("$SYS.REQ.SERVER.PING.CONNZ", "{}", 2))
  for _, connection in ipairs(assert(core.decode(text)).data.connections) do
    names[connection.name or ""] = (names[connection.name or ""] or 0) + 1
  end
  client:close()
  return names
end

describe("a configuration file", function()
  setup(function()
    server = nats.start({
      config = {
        "accounts {",
        "  $SYS { users = [{user: sys, password: sys}] }",
        "  A { jetstream: true, users = [{user: a, password: a}] }",
        "}",
        "no_auth_user: a",
      },
    })
    folder = assert(core.mkdtemp("naq-spec-config"))
    write("jobs.lua", JOBS)
    write("naq.yaml", ([[
nats:
  servers: ["${NAQ_TEST_URL}"]
  client_name: shop
queues:
  default: orders
  prefix: shop
  ack_wait: 21
  configs:
    slow: {ack_wait: 77}
    orders: {max_retries: 0}
workers:
  concurrency: 3
  heartbeat_interval: 7
  ttl: 33
dashboard: {port: 9090}
results:
  ttl: 3600
logging:
  level: info
  format: json
  file: %s/naq.log
]]):format(folder))
    worker = support.process.start({ "worker", "--jobs", "jobs.lua", "orders", "slow" }, {
      env = { NAQ_TEST_URL = server.url },
      cwd = folder,
    })
    eventually(function() return read(folder .. "/naq.log"):find("ready") end, 10, "the worker")
  end)
  teardown(function()
    worker:stop()
    server:stop()
    core.rmtree(folder)
  end)

  local function run(...)
    local args = { ... }
    args[#args + 1] = { env = { NAQ_TEST_URL = server.url }, cwd = folder }
    return naq((table.unpack or unpack)(args)) -- luacheck: ignore 113 143
  end

  it("says how many threads a worker has, which queues, and how often it reports", function()
    local status, out, errors = run("workers", "--json")
    assert.equal(0, status, errors)
    local shown = assert(core.decode(out))
    assert.equal(3, shown.threads)
    assert.same({ "orders", "slow" }, shown.queues)
    local client = connect({ prefix = "shop" })
    local stream = assert(jetstream_api.call(client.conn, "STREAM.INFO", "KV_shop_workers"))
    assert.equal(33e9, stream.config.max_age)
    client:close()
  end)

  it("says how long the lease of a queue is, one queue's own before that of all", function()
    local client = connect()
    for queue, seconds in pairs({ orders = 21, slow = 77 }) do
      local consumer = queue .. "_normal"
      local info = assert(jetstream_api.call(client.conn, "CONSUMER.INFO", "shop_jobs." .. consumer))
      assert.equal(seconds * 1e9, info.config.ack_wait)
    end
    client:close()
  end)

  it("says how connections are called, those of the worker and those of a client in its jobs", function()
    assert.equal(0, (run("enqueue", "forward", "--args", "1", "--wait", "10")))
    local names = names_of_connections()
    assert.is_true((names.shop or 0) >= 2, core.encode(names)) -- the hot one and an ordinary one
    names.shop, names.spec = nil, nil
    assert.same({}, names)
  end)

  it("says which queue is the default one, also in a job, and how long results stay", function()
    local status, out, errors = run("enqueue", "forward", "--args", "21", "--wait", "10")
    assert.equal(0, status, errors)
    local id = assert(core.decode(out))
    status, out, errors = run("job", "result", id, "--wait", "10")
    assert.equal(0, status, errors)
    assert.equal("42\n", out)
    local client = connect({ prefix = "shop" })
    local _, _, bucket = client.conn:find_record("shop", id)
    assert.equal("shop_results_1h", bucket)
    client:close()
  end)

  it("says how a queue's jobs are treated", function()
    local status, _, errors = run("enqueue", "fail", "--wait", "10")
    assert.equal(1, status)
    assert.matches("no", errors)
    local client = connect({ prefix = "shop" })
    local job = assert(client:enqueue("fail", nil, { queue = "slow" }))
    eventually(function() return job:status() == "retry" end, 10, "a retry on the other queue")
    client:close()
  end)

  it("is told of when it sets what this version does not use", function()
    local text = read(folder .. "/naq.log")
    local expected = "configuration: dashboard.port (file ./naq.yaml:15) has no effect: "
    assert.truthy(text:find(expected, 1, true), text)
  end)

  it("says where the log goes, how it looks and what is in it", function()
    local text = read(folder .. "/naq.log")
    assert.equal("", worker:log())
    for line in text:gmatch("[^\n]+") do
      local entry = assert(core.decode(line))
      assert.is_string(entry.time)
      assert.is_string(entry.level)
      assert.is_string(entry.message)
      assert.not_equal("debug", entry.level)
    end
  end)

  -- The last one here: the file is spoilt after it.
  it("is read once: clients in jobs go on with what the worker read", function()
    write("naq.yaml", "nats: {sever: x}\n")
    local client = connect({ prefix = "shop", default_queue = "orders", config = false })
    local job = assert(client:enqueue("forward", 4))
    assert.equal("completed", job:wait(10))
    assert.equal("completed", client:job(assert(job:result())):wait(10))
    client:close()
  end)
end)

describe("the log of a client", function()
  local dir
  before_each(function() dir = assert(core.mkdtemp("naq-spec-config")) end)
  after_each(function() core.rmtree(dir) end)

  -- In a process of its own: the log is the process's.
  local function run(program, env)
    local f = assert(io.open(dir .. "/program.lua", "wb"))
    f:write(program)
    f:close()
    local own = nats.start()
    env.NAQ_NATS_URL = own.url
    local status, out, errors = naq("run", dir .. "/program.lua", { env = env, cwd = dir })
    own:stop()
    assert.equal(0, status, errors)
    return out, errors
  end

  local PROGRAM = [[
local core, naq = require("naq.core"), require("naq")
local client = assert(naq.connect(%s))
core.log("info", "a line")
core.log("debug", "a smaller one")
client:close()
]]

  it("goes where the configuration says", function()
    local _, errors = run(PROGRAM:format('{ log_file = "own.log", log_format = "json", log_level = "debug" }'), {})
    assert.equal("", errors)
    local text = read(dir .. "/own.log")
    assert.matches('"message":"a line"', text)
    assert.matches('"message":"a smaller one"', text)
    _, errors = run(PROGRAM:format(""), { NAQ_LOG_LEVEL = "info" })
    assert.matches("info +a line\n", errors)
    assert.not_matches("smaller", errors)
  end)

  it("is left as it is by a configuration that says nothing of it", function()
    local _, errors = run(PROGRAM:format(""), {})
    assert.equal("", errors) -- from warnings on, as a process begins
    _, errors = run('require("naq.core").configure_log({ level = "debug" })\n' .. PROGRAM:format(""), {})
    assert.matches("a smaller one", errors)
  end)

  it("that cannot be written is an error of connecting", function()
    local out = run([[
local client, message, code = require("naq").connect({ log_file = "no/such/folder/log" })
print(client, message, code)
]], {})
    assert.equal("nil\tlog file no/such/folder/log: No such file or directory\tCONFIGURATION\n", out)
  end)
end)
