-- What can be wrong on the other side: each with its own sentence and code, none longer than allowed.
-- security_spec.lua has what is refused for lack of a secret.

local core = require("naq.core")
local support = require("spec.support")
local certificates = require("spec.support.certificates")
local impostor = require("spec.support.impostor")
local library = require("naq")
local eventually, nats, naq = support.eventually, support.nats, support.naq

local SECONDS = 1
local ROOM = 1.5 -- beyond what was allowed: a loaded machine, a second look at the server

local function timed(fn, ...)
  local begun = core.mono()
  local value, message, code = fn(...)
  return value, message, code, core.mono() - begun
end

local function assert_fault(expected, words, seconds, value, message, code, took)
  assert.is_nil(value)
  assert.equal(expected, code, message)
  for _, word in ipairs(words) do
    assert.truthy(message:find(word, 1, true), message)
  end
  assert.truthy(took < seconds + ROOM, ("%s after %.2f s"):format(message, took))
end

describe("connecting to", function()
  local ca
  setup(function() ca = certificates.authority() end)
  teardown(function() ca:remove() end)

  local function refused(expected, words, url, tls)
    local options = { servers = { url }, connection_timeout = SECONDS, tls = tls }
    local host = url:match("//([^:/]+)")
    assert_fault(expected, words, SECONDS, timed(library.connect, options))
    local conn, message, code, took = timed(library.connection, options)
    assert_fault(expected, { host }, SECONDS, conn, message, code, took)
  end

  -- The command line says the same and ends with 3.
  local function command_refused(expected, url)
    local env = { NAQ_NATS_CONNECTION_TIMEOUT = tostring(SECONDS) }
    local status, out, errors = naq("workers", "--json", "-u", url, { env = env, seconds = 20 })
    assert.equal(3, status, errors)
    assert.equal("", out)
    assert.equal(expected, assert(core.decode(errors)).error.code, errors)
    assert.truthy(errors:find(url, 1, true), errors)
  end

  local function with(options, check)
    local other = impostor.start(options)
    local ok, problem = pcall(check, other.url)
    other.stop()
    if not ok then error(problem, 0) end
  end

  it("a listener that stays mute is a TIMEOUT", function()
    with({}, function(url)
      refused("TIMEOUT", { url, "no answer" }, url)
      command_refused("TIMEOUT", url)
    end)
  end)

  it("a server that greets and then stays mute is a TIMEOUT", function()
    with({ say = impostor.info() }, function(url) refused("TIMEOUT", { url, "no answer" }, url) end)
  end)

  it("a server that stays mute in the TLS handshake is a TIMEOUT", function()
    with({ say = impostor.info('"tls_required":true') }, function(url)
      refused("TIMEOUT", { url, "TLS handshake" }, url, { enabled = true, ca_file = ca.ca_file })
      refused("TIMEOUT", { url, "TLS handshake" }, url)
      command_refused("TIMEOUT", url)
    end)
  end)

  it("one that closes at once says so", function()
    with({ close = true }, function(url)
      refused("CONNECTION", { url, "closes the connection without a word" }, url)
      command_refused("CONNECTION", url)
    end)
    with({ say = impostor.info(), close = true }, function(url)
      refused("CONNECTION", { url, "ended the connection" }, url)
    end)
  end)

  it("what is no NATS server says what it said", function()
    local http = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
    with({ say = http, close = true }, function(url)
      refused("CONNECTION", { url, "no NATS server", "HTTP/1.1 400 Bad Request" }, url)
      command_refused("CONNECTION", url)
    end)
    with({ say = "220 mail.example ESMTP\r\n" }, function(url)
      refused("CONNECTION", { url, "no NATS server", "220 mail.example ESMTP" }, url)
    end)
    with({ say = ("x"):rep(100000) }, function(url) refused("CONNECTION", { url, "no NATS server" }, url) end)
    with({ say = "INFO {not json\r\n" }, function(url) refused("CONNECTION", { url }, url) end)
  end)

  it("a port where nobody listens says so", function()
    local url = ("nats://127.0.0.1:%d"):format(assert(core.free_port()))
    refused("CONNECTION", { url, "nothing is listening" }, url)
    command_refused("CONNECTION", url)
  end)

  it("a name that does not resolve says so", function()
    local url = "nats://no-such-host.invalid:4222"
    refused("CONNECTION", { "no-such-host.invalid", "cannot be resolved" }, url)
    command_refused("CONNECTION", url)
  end)

  it("several servers names the reason of each", function()
    local nobody = ("nats://127.0.0.1:%d"):format(assert(core.free_port()))
    with({ close = true }, function(url)
      local options = { servers = { nobody, url }, connection_timeout = SECONDS }
      local words = { nobody .. ": nothing is listening", url .. ": something listens there" }
      assert_fault("CONNECTION", words, 2 * SECONDS, timed(library.connect, options))
    end)
    local server = nats.start({ config = { "authorization { user: ada, password: right }" } })
    local options = { servers = { nobody, server.url }, connection_timeout = SECONDS }
    local words = { nobody .. ": nothing is listening", server.url .. ": the server refused the credentials" }
    assert_fault("AUTH", words, 2 * SECONDS, timed(library.connect, options))
    server:stop()
  end)
end)

describe("an account", function()
  local ACCOUNTS = [[
accounts {
  FULL: { jetstream: { max_store: %s, max_mem: 1MB }, users: [ { user: full, password: p } ] }
  NONE: { users: [ { user: none, password: p } ] }
  SOME: { jetstream: enabled, users: [
    { user: all, password: p },
    { user: quiet, password: p, permissions: { publish: { deny: ["closed.>", "naq.q.closed.>"] } } },
    { user: deaf, password: p, permissions: { subscribe: { deny: ["closed.>"] } } },
    { user: unheard, password: p, permissions: { subscribe: { deny: ["_INBOX.>"] } } },
    { user: plain, password: p, permissions: { publish: { deny: ["$JS.API.>"] } } } ] }
}]]
  local server

  setup(function() server = nats.start({ config = { ACCOUNTS:format("9GB") } }) end)
  teardown(function() server:stop() end)

  local function client(user) return server:client({ user = user, password = "p" }) end
  local function login(user) return (server.url:gsub("//", "//" .. user .. ":p@")) end

  it("without JetStream is told apart from one without streams", function()
    local none = client("none")
    local words = { "JetStream" }
    assert_fault("NO_JETSTREAM", words, 1, timed(function() return none:queue("q"):enqueue("x") end))
    assert_fault("NO_JETSTREAM", words, 1, timed(function()
      local jobs, errors, code = none:queue("q"):enqueue_many({ { "x" } })
      if jobs and errors[1] then return nil, errors[1].message, errors[1].code end
      return jobs, errors, code
    end))
    none:close()
    local status, _, errors = naq("enqueue", "x", "-u", login("none"), "--json")
    assert.equal(1, status)
    assert.equal("NO_JETSTREAM", assert(core.decode(errors)).error.code)
  end)

  it("may not be allowed to publish a job", function()
    assert(client("all"):queue("closed"):enqueue("x")) -- the layout
    local quiet = client("quiet")
    local words = { "naq.q.closed." }
    assert_fault("PERMISSION", words, 1, timed(function() return quiet:queue("closed"):enqueue("x") end))
    assert(quiet:queue("open"):enqueue("x"))
    -- Of many, each hears of its own refusal, whichever was the last.
    local many = {}
    for i = 1, 1000 do
      many[i] = { "x", { i } }
    end
    local jobs, errors, _, took = timed(function() return quiet:queue("closed"):enqueue_many(many) end)
    for i = 1, #many do
      assert.is_false(jobs[i])
      assert_fault("PERMISSION", words, 1, nil, errors[i].message, errors[i].code, took)
    end
    quiet:close()
  end)

  it("may not be allowed to ask", function()
    local conn = server:connect({ user = "quiet", password = "p" })
    assert_fault("PERMISSION", { "closed.question" }, 1, timed(conn.request, conn, "closed.question", "", 10))
    conn:close()
  end)

  it("may not be allowed to receive answers", function()
    local conn = server:connect({ user = "unheard", password = "p" })
    assert_fault("PERMISSION", { "_INBOX." }, 1, timed(conn.request, conn, "$JS.API.INFO", "", 10))
    conn:close()
  end)

  it("may not be allowed to use JetStream's API", function()
    local plain = client("plain")
    local job = assert(plain:queue("q"):enqueue("x")) -- needs no more than the subject
    assert_fault("PERMISSION", { "$JS.API" }, 1, timed(job.status, job))
    assert_fault("PERMISSION", { "$JS.API" }, 1, timed(job.wait, job, 10))
    plain:close()
    local status, _, errors = naq("queue", "stats", "q", "-u", login("plain"), "--json")
    assert.equal(1, status)
    assert.equal("PERMISSION", assert(core.decode(errors:match("{.*"))).error.code)
  end)

  it("may not be allowed to listen", function()
    local conn = assert(library.connection({ servers = { server.url }, user = "deaf", password = "p" }))
    local words = { "closed.news" }
    assert_fault("PERMISSION", words, 2, timed(function()
      local sub, message, code = conn:subscribe("closed.news")
      if not sub then return nil, message, code end
      local answer
      answer, message, code = sub:next(2)
      return answer, message, code
    end))
    conn:close()
  end)

  it("that is full takes no more jobs, and does again when there is room", function()
    local full = client("full")
    local queue = full:queue("q")
    assert(queue:enqueue("x"))
    server:reload({ ACCOUNTS:format("1MB") })
    local args = { text = ("x"):rep(200000) }
    local function fill()
      for _ = 1, 20 do
        local job, message, code = queue:enqueue("x", args)
        if not job then return nil, message, code end
      end
    end
    assert_fault("STORAGE_FULL", { "naq.q.q." }, 2, timed(fill))
    local jobs, errors = queue:enqueue_many({ { "x", args }, { "x", args } })
    assert.equal("STORAGE_FULL", jobs and errors[1].code or select(2, errors))
    local text = '{"text":"' .. ("x"):rep(100000) .. '"}'
    local status, _, said = naq("enqueue", "x", "--args", text, "-u", login("full"), "--json")
    assert.equal(1, status)
    assert.equal("STORAGE_FULL", assert(core.decode(said)).error.code)
    server:reload({ ACCOUNTS:format("9GB") })
    assert(queue:enqueue("x", args))
    full:close()
  end)
end)

describe("a server", function()
  local server

  after_each(function() server:stop() end)

  it("with too little storage for the streams says so", function()
    local dir = assert(core.mkdtemp("naq-spec-small"))
    local line = ('jetstream { store_dir: "%s", max_file_store: 3MB }'):format(dir)
    server = nats.start({ jetstream = false, config = { line } })
    local client = server:client()
    local words = { "creating stream", "insufficient storage" }
    assert_fault("STORAGE_FULL", words, 1, timed(function() return client:queue("q"):enqueue("x") end))
    client:close()
    core.rmtree(dir)
  end)

  it("refuses a payload that is too large, at once and by name", function()
    server = nats.start({ config = { "max_payload: 10000" } })
    local client = server:client()
    local args = { text = ("x"):rep(20000) }
    local words = { "queue q", "bytes" }
    assert_fault("TOO_LARGE", words, 0.5, timed(function() return client:queue("q"):enqueue("x", args) end))
    local jobs, errors = client:queue("q"):enqueue_many({ { "x", args }, { "x" } })
    assert.is_false(jobs[1])
    assert.equal("TOO_LARGE", errors[1].code)
    assert.truthy(jobs[2])
    local sent, message, code = client.conn:request("x", args.text, 1)
    assert.is_nil(sent)
    assert.equal("TOO_LARGE", code, message)
    client:close()
  end)

  it("that dies in mid-request ends the request at once", function()
    server = nats.start()
    local conn = server:connect()
    server:freeze() -- the question is under way then, and no answer comes
    local killed = server:kill_meanwhile(0.3, 0.3)
    assert_fault("CONNECTION", {}, 0.5, timed(conn.request, conn, "$JS.API.INFO", "", 20))
    killed()
    eventually(function() return conn:request("$JS.API.INFO", "", 1) end, 10, "an answer again")
    conn:close()
  end)

  it("that dies while a job's record is looked for ends that at once", function()
    server = nats.start()
    local client = server:client()
    local job = assert(client:queue("q"):enqueue("x"))
    server:freeze()
    local killed = server:kill_meanwhile(0.3, 0.3)
    local status, message, code, took = timed(job.status, job)
    assert.truthy(took < 0.5 + ROOM, took)
    if not status then assert.equal("CONNECTION", code, message) end
    killed()
    assert.equal("pending", eventually(function() return job:status() end, 10, "the job's state"))
    client:close()
  end)

  it("that is replaced by a mute one costs a caller no more than its timeout", function()
    server = nats.start()
    local conn = server:connect({ connection_timeout = 5 })
    assert(conn:request("$JS.API.INFO", "", 1))
    server:halt()
    local mute = impostor.start({ port = server.port })
    for _ = 1, 5 do
      local value, _, code, took = timed(conn.request, conn, "$JS.API.INFO", "", 0.5)
      assert.is_nil(value)
      assert.truthy(code == "CONNECTION" or code == "TIMEOUT", code)
      assert.truthy(took < 0.5 + ROOM, took)
    end
    conn:close()
    mute.stop()
  end)
end)
