-- A worker over TLS with everything that can be secret, through restarts of its server; and nothing
-- secret in what it and other programs print, at the level that prints most.

local core = require("naq.core")
local support = require("spec.support")
local certificates = require("spec.support.certificates")
local nkeys = require("spec.support.nkeys")
local eventually, nats, naq, start_worker = support.eventually, support.nats, support.naq, support.start_worker

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function read(path)
  local f = io.open(path, "rb")
  local text = f and f:read("*a") or ""
  if f then f:close() end
  return text
end

local JOBS = [[
local naq = require("naq")
naq.job("size", function(args) return #args.text end)
]]

describe("a worker over TLS", function()
  local ca, operator, folder, server, worker, client

  setup(function()
    ca, operator = certificates.authority(), nkeys.operator()
    folder = assert(core.mkdtemp("naq-spec-secrets"))
    local lines = certificates.server(ca:sign(), ca, true)
    for _, line in ipairs(operator.config) do
      lines[#lines + 1] = line
    end
    server = nats.start({ config = lines })
    local mine, creds = ca:sign({ common_name = "worker" }), operator.user()
    worker = start_worker({
      url = server.url,
      queues = { "sizes" },
      jobs = { write(folder .. "/jobs.lua", JOBS) },
      threads = 4,
      level = "debug",
      env = {
        NAQ_NATS_TLS_CA_FILE = ca.ca_file,
        NAQ_NATS_TLS_CERT_FILE = mine.cert_file,
        NAQ_NATS_TLS_KEY_FILE = mine.key_file,
        NAQ_NATS_CREDS_FILE = creds,
      },
    })
    client = server:client({
      tls = { ca_file = ca.ca_file, cert_file = mine.cert_file, key_file = mine.key_file },
      creds_file = creds,
    })
  end)

  teardown(function()
    client:close()
    worker:stop()
    server:stop()
    ca:remove()
    operator.remove()
    core.rmtree(folder)
  end)

  local function run(count, bytes)
    local list = {}
    for i = 1, count do
      list[i] = { "size", { text = ("x"):rep(bytes) } }
    end
    local jobs, errors = assert(client:queue("sizes"):enqueue_many(list))
    assert.same({}, errors)
    for _, job in ipairs(jobs) do
      local state, message = job:wait(30)
      assert.equal("completed", state, ("%s\n%s"):format(message, worker:log()))
      -- Reading it may meet the server's end as well.
      assert.equal(bytes, eventually(function() return job:result() end, 10, "a result"))
    end
  end

  it("runs jobs, small ones and such as take many TLS records", function()
    run(500, 10)
    run(200, 50000)
    run(5, 900000)
  end)

  it("goes on when its server is killed while it runs them, and loses none", function()
    for _ = 1, 2 do
      local killed = server:kill_meanwhile(0.05, 0.3)
      run(500, 5000)
      killed()
      eventually(function() return client.conn:request("$JS.API.INFO", "", 2) end, 10, "the server's return")
      run(10, 10)
    end
    assert.truthy(worker:log():find("connected again", 1, true))
  end)

  it("ends in order", function()
    worker:term()
    local state, status = worker:wait(20)
    assert.equal("exited", state)
    assert.equal(0, status, worker:log())
  end)
end)

describe("a secret", function()
  local PASSWORD, ENCODED = [[s3cr/et:"p@ss]], "s3cr%2Fet%3A%22p%40ss"
  local folder, server, url

  setup(function()
    folder = assert(core.mkdtemp("naq-spec-secrets"))
    server = nats.start({ config = { [[authorization { user: ada, password: "s3cr/et:\"p@ss" }]] } })
    url = server.url:gsub("//", function() return "//ada:" .. ENCODED .. "@" end)
    write(folder .. "/jobs.lua", JOBS)
  end)
  teardown(function()
    server:stop()
    core.rmtree(folder)
  end)

  local function assert_clean(text, where)
    for _, part in ipairs({ "s3cr", "p@ss", "p%40ss", "t0ken", "ada:" }) do
      local at = text:find(part, 1, true)
      if at then error(("%s says %s: %s"):format(where, part, text:sub(math.max(1, at - 80), at + 80)), 2) end
    end
  end

  local function printed(...)
    local status, out, errors = naq(...)
    assert_clean(out, "standard output of naq " .. tostring((...)))
    assert_clean(errors, "standard error of naq " .. tostring((...)))
    return status, out, errors
  end

  it("is in nothing that commands print", function()
    for _, json in ipairs({ "-ldebug", "--json" }) do
      assert.equal(0, (printed("doctor", "-u", url, "-ldebug", json)))
      assert.equal(0, (printed("enqueue", "size", "-u", url, "-ldebug", json)))
      assert.equal(0, (printed("workers", "-u", url, "-ldebug", json)))
    end
    printed("doctor", "-ldebug", { env = { NAQ_NATS_URL = url } })
    local env = { NAQ_NATS_URL = server.url, NAQ_NATS_USER = "ada", NAQ_NATS_PASSWORD = PASSWORD }
    assert.equal(0, (printed("doctor", "-ldebug", { env = env })))
  end)

  it("is in no error: refused, nobody there, a URL that is none", function()
    local wrong = url:gsub("ss@", "ssx@")
    local nobody = wrong:gsub(":%d+$", ":9")
    assert.equal(3, (printed("doctor", "-u", wrong, "-ldebug")))
    assert.equal(3, (printed("doctor", "-u", nobody, "-ldebug")))
    assert.equal(3, (printed("doctor", "-u", wrong .. "," .. nobody, "-ldebug")))
    assert.equal(3, (printed("worker", "--jobs", folder .. "/jobs.lua", "-u", wrong, "-ldebug")))
    for _, bad in ipairs({ (url:gsub("^nats", "http")), (url:gsub(":%d+$", ":99999")) }) do
      assert.is_not_equal(0, (printed("doctor", "-u", bad, "-ldebug")))
    end
    for _, odd in ipairs({ url .. " x", (url:gsub("@", " @")), (url:gsub("//", "/")), (url:gsub(":%d+$", "")) }) do
      printed("doctor", "-u", odd, "-ldebug")
    end
    printed("doctor", "-ldebug", { env = { NAQ_NATS_URL = server.url, NAQ_NATS_TOKEN = "t0ken" } })
    printed("doctor", "-ldebug", { env = { NAQ_NATS_URL = server.url, NAQ_NATS_PASSWORD = PASSWORD } })
  end)

  it("is in no log of a worker, through a lost server, a refusal and the end", function()
    local worker = start_worker({ url = url, queues = { "q" }, jobs = { folder .. "/jobs.lua" }, level = "debug" })
    eventually(function() return worker:log():find("ready", 1, true) end, 20, "the worker")
    -- Nor in the list of processes.
    local title = read(("/proc/%d/cmdline"):format(worker.pid))
    assert_clean(title, "the process's title")
    assert.truthy(title:find("worker", 1, true), title)
    assert.truthy(title:find(tostring(server.port), 1, true), title)
    server:restart()
    eventually(function() return worker:log():find("connected again", 1, true) end, 10, "the worker's return")
    server:restart({ [[authorization { user: ada, password: "an0ther" }]] })
    local state, status = worker:wait(30)
    assert.equal("exited", state)
    assert.equal(3, status)
    assert.truthy(worker:log():find("Authorization Violation", 1, true), worker:log())
    assert_clean(worker:log(), "the worker's log")
    assert_clean(worker:stdout(), "the worker's output")
    worker:stop()
    server:restart({ [[authorization { user: ada, password: "s3cr/et:\"p@ss" }]] })
  end)

  it("is in no sentence of the library", function()
    local library = require("naq")
    local client = assert(library.connect({ servers = { url } }))
    server:halt()
    local _, message = client.conn:request("$JS.API.INFO", "", 0.5)
    assert_clean(message, "a request without a server")
    client:close()
    -- Until it is heard that the server is gone, its idle connection is lent.
    support.eventually(function()
      client, message = library.connect({ servers = { url }, connection_timeout = 1 })
      if client then client:close() end
      return not client
    end, 5, "the connection to be lost")
    assert_clean(message, "connect")
    local ok, raised = pcall(library.connect, { servers = { "nats://ada:s3cr et@127.0.0.1" } })
    assert.is_false(ok)
    assert_clean(raised, "a misuse")
    server:restart()
  end)
end)
