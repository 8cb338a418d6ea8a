-- What is read from the configuration file, and what is refused with which line.

local config = require("naq.config")
local core = require("naq.core")

local folder

local function write(name, text)
  local path = folder .. "/" .. name
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

--- The configuration that the text of a file makes.
local function resolve(text, environment, given)
  local path = write("naq.yaml", text)
  local options = { config = path }
  for k, v in pairs(given or {}) do
    options[k] = v
  end
  return config.resolve(options, 1, function(name) return (environment or {})[name] end)
end

--- What is wrong with a file, "line: message" each.
local function problems(text, environment)
  local path = write("naq.yaml", text)
  local found = config.problems({ config = path }, function(name) return (environment or {})[name] end)
  local sentences = {}
  for i, problem in ipairs(found) do
    sentences[i] = ("%s: %s"):format(problem.line or "?", problem.message)
  end
  return sentences
end

local function lines(...) return table.concat({ ... }, "\n") .. "\n" end

describe("a configuration file", function()
  setup(function() folder = assert(core.mkdtemp("naq-spec-config")) end)
  teardown(function() core.rmtree(folder) end)

  it("goes before the defaults, behind the environment and the options", function()
    local text = lines("nats:", "  client_name: file", "  ping_interval: 3", "workers:", "  concurrency: 5")
    local c = assert(resolve(text, { NAQ_CLIENT_NAME = "environment" }, { concurrency = 7 }))
    assert.equal("environment", c.nats.client_name)
    assert.equal(3, c.nats.ping_interval)
    assert.equal(7, c.workers.concurrency)
    assert.equal(30, c.queues.ack_wait)
    assert.equal(("file %s/naq.yaml:3"):format(folder), c.sources["nats.ping_interval"])
    assert.equal("environment NAQ_CLIENT_NAME", c.sources["nats.client_name"])
    assert.equal("options", c.sources["workers.concurrency"])
    assert.equal("default", c.sources["queues.ack_wait"])
    assert.equal(folder .. "/naq.yaml", c.file)
  end)

  it("is read with all its types", function()
    local c = assert(resolve(lines(
      "nats:",
      "  servers: [nats://a:1, 'b:2']",
      "  password: 12345",
      "  user: no",
      "  tls: {enabled: yes, verify: false}",
      "queues:",
      "  configs:",
      "    mail:",
      "      ack_wait: 2.5",
      "      concurrency: 8",
      "      rate_limit: 100/s",
      "      paused: true",
      "    slow-queue: {rate_limit: 0.5}",
      "workers:",
      "  timeout: 1e2",
      "  memory_limit: 64MB",
      "events: {max_bytes: 1 GiB}",
      "logging: {format: json, file: /var/log/naq.log}"
    )))
    assert.same({ "nats://a:1", "nats://b:2" }, c.nats.servers)
    assert.equal("12345", c.nats.password)
    assert.equal("no", c.nats.user)
    assert.same({ enabled = true, verify = false }, c.nats.tls)
    assert.same({
      mail = { ack_wait = 2.5, concurrency = 8, rate_limit = "100/s", paused = true },
      ["slow-queue"] = { rate_limit = 0.5 },
    }, c.queues.configs)
    assert.equal(100, c.workers.timeout)
    assert.equal(67108864, c.workers.memory_limit)
    assert.equal(1073741824, c.events.max_bytes)
    assert.same({ level = "info", format = "json", file = "/var/log/naq.log" }, c.logging)
  end)

  it("takes what has no value for what is not set", function()
    local c = assert(resolve(lines("nats:", "  client_name:", "  user: ~", "queues:", "workers: {}")))
    assert.equal("naq", c.nats.client_name)
    assert.is_nil(c.nats.user)
  end)

  it("may be empty, or hold comments only", function()
    for _, text in ipairs({ "", "\n", "# nothing\n", "---\n", "\239\187\191", "--- ~\n" }) do
      assert.same({}, problems(text))
    end
  end)

  it("may begin with a byte order mark and end its lines as Windows does", function()
    local c = assert(resolve("\239\187\191nats:\r\n  client_name: shop\r\n  ping_interval: 4\r\n"))
    assert.equal("shop", c.nats.client_name)
    assert.equal(4, c.nats.ping_interval)
  end)

  it("may use anchors, aliases and merge keys", function()
    local c = assert(resolve(lines(
      "queues:",
      "  configs:",
      "    mail: &slow",
      "      ack_wait: 60",
      "      concurrency: 2",
      "    images: *slow",
      "    video:",
      "      concurrency: 1",
      "      <<: [*slow, {paused: true, ack_wait: 1}]"
    )))
    assert.same({ ack_wait = 60, concurrency = 2 }, c.queues.configs.images)
    assert.same({ ack_wait = 60, concurrency = 1, paused = true }, c.queues.configs.video)
    assert.matches(":9$", c.sources["queues.configs.video.paused"])
    assert.matches(":4$", c.sources["queues.configs.video.ack_wait"])
  end)

  describe("with variables in it", function()
    it("has them replaced from the environment, then typed", function()
      local c = assert(resolve(lines(
      "nats:",
        "  servers: ['nats://${HOST}:${PORT:4222}', '${MORE:nats://b:1,nats://c:2}']",
        "  password: ${PW:}",
        "  token: a$${b}c$d",
        "  tls: {verify: '${VERIFY:no}'}",
        "workers:",
        "  concurrency: \"${THREADS:8}\"",
        "  ttl: ${TTL}"
      ), { HOST = "h", TTL = "90", VERIFY = "" }))
      assert.same({ "nats://h:4222", "nats://b:1", "nats://c:2" }, c.nats.servers)
      assert.is_nil(c.nats.password)
      assert.equal("a${b}c$d", c.nats.token)
      assert.is_false(c.nats.tls.verify)
      assert.equal(8, c.workers.concurrency)
      assert.equal(90, c.workers.ttl)
    end)

    it("is refused with the line when one is missing or malformed", function()
      assert.same({
        "2: nats.password: there is no environment variable NAQ_TEST_PW, and no default",
        "3: nats.token: '${' begins no variable; write ${NAME}, ${NAME:default}, or $${",
        "4: nats.user: '${' begins no variable; write ${NAME}, ${NAME:default}, or $${",
        "6: workers.concurrency: must be a whole number, not 'many'",
      }, problems(lines(
      "nats:",
        "  password: ${NAQ_TEST_PW}",
        "  token: ${open",
        "  user: ${1X}",
        "workers:",
        "  concurrency: ${N}"
      ), { N = "many" }))
    end)

    it("takes what a variable holds as it is", function()
      local environment = { PW = "${HOME}: {x} #'\"" }
      assert.equal(environment.PW, assert(resolve("nats: {user: u, password: '${PW}'}\n", environment)).nats.password)
    end)
  end)

  describe("with environments", function()
    local text = lines(
      "environments:",
      "  production:",
      "    nats: {client_name: live, password: '${NAQ_TEST_PW}', user: u}",
      "  test:",
      "    queues: {prefix: test}",
      "nats: {client_name: dev, ping_interval: 7}"
    )

    it("has the chosen one laid over the rest", function()
      local c = assert(resolve(text, { NAQ_ENVIRONMENT = "production", NAQ_TEST_PW = "x" }))
      assert.equal("live", c.nats.client_name)
      assert.equal("x", c.nats.password)
      assert.equal(7, c.nats.ping_interval)
      assert.equal("naq", c.queues.prefix)
      assert.matches("naq.yaml:3 %(production%)$", c.sources["nats.client_name"])
      assert.equal("test", assert(resolve(text, { NAQ_ENVIRONMENT = "test" })).queues.prefix)
    end)

    it("needs no variable of one that was not chosen", function()
      assert.equal("dev", assert(resolve(text)).nats.client_name)
      assert.same({
        "3: nats.password: there is no environment variable NAQ_TEST_PW, and no default",
      }, problems(text, { NAQ_ENVIRONMENT = "production" }))
    end)

    it("has all of them checked", function()
      assert.same({
        "4: unknown key 'natz' (did you mean 'nats'?)",
        "6: workers.concurrency: must be a whole number, not 'x'",
        "7: unknown key 'environments'",
      }, problems(lines(
        "nats: {}",
        "environments:",
        "  a:",
        "    natz: {}",
        "  b:",
        "    workers: {concurrency: x}",
        "    environments: {}"
      )))
    end)

    it("names those it has when another is asked for", function()
      assert.same({
        "1: NAQ_ENVIRONMENT is 'live', and this file has production, test",
      }, problems(text, { NAQ_ENVIRONMENT = "live" }))
      assert.same({
        "?: NAQ_ENVIRONMENT is 'live', and this file has no environments",
      }, problems("nats: {}\n", { NAQ_ENVIRONMENT = "live" }))
      assert.same({
        "1: environments: must be a section with one for each environment",
      }, problems("environments: [a]\n"))
    end)
  end)

  it("is refused with line, key and the nearest known name", function()
    assert.same({
      "2: unknown key 'nats.client_nam' (did you mean 'nats.client_name'?)",
      "3: unknown key 'nats.something'",
      "5: unknown key 'nats.tls.ca' (did you mean 'nats.tls.ca_file'?)",
      "6: unknown key 'wokers' (did you mean 'workers'?)",
      "8: unknown key 'servers' (did you mean 'nats.servers'?)",
      "11: unknown key 'queues.configs.mail.rate_limt' (did you mean 'queues.configs.mail.rate_limit'?)",
      "12: queues.configs: a queue's name must be 1 to 64 of [A-Za-z0-9_-], not 'a.b'",
    }, problems(lines(
      "nats:",
      "  client_nam: x",
      "  something: y",
      "  tls:",
      "    ca: z",
      "wokers:",
      "  concurrency: 1",
      "servers: nats://x",
      "queues:",
      "  configs:",
      "    mail: {rate_limt: 3}",
      "    a.b: {}"
    )))
  end)

  it("is refused with line and key for values of the wrong type", function()
    assert.same({
      "2: nats.ping_interval: must be a number, not 'soon'",
      "3: nats.client_name: must be a string, not true",
      "4: nats.pool_size: must be a whole number, not 1.5",
      "5: nats.max_outstanding_pings: must be a whole number, not '3'",
      "6: nats.connection_timeout: must be at least 0.001, not 0",
      "7: nats.tls: must be a section, not a value",
      "8: nats.user: is a value, not a section",
      "9: nats.servers: must name at least one server",
      "10: nats.replicas: must be a whole number, not a table",
      "11: workers: must be a section, not a list",
      "14: queues.default: must be 1 to 64 of [A-Za-z0-9_-], not 'a b'",
      "15: queues.configs: must be a section, not a value",
      "16: logging.level: must be one of error, warn, info, debug, not 'loud'",
      "17: scheduler.enabled: must be true or false, not 'maybe'",
      "18: events.max_bytes: must be a number of bytes, or one like 64MB, not '1 XB'",
    }, problems(lines(
      "nats:",
      "  ping_interval: soon",
      "  client_name: true",
      "  pool_size: 1.5",
      "  max_outstanding_pings: '3'",
      "  connection_timeout: 0",
      "  tls: true",
      "  user: {a: b}",
      "  servers: []",
      "  replicas: [1]",
      "workers:",
      "  - concurrency",
      "queues:",
      "  default: a b",
      "  configs: 3",
      "logging: {level: loud}",
      "scheduler: {enabled: maybe}",
      "events: {max_bytes: 1 XB}"
    )))
    assert.same({ "1: the file must hold sections, not a list" }, problems("- nats\n"))
    assert.same({ "1: the file must hold sections, not a value" }, problems("nats\n"))
    assert.same({ "2: nats.servers: item 2 must be a single value" }, problems("nats:\n  servers: [a, [b]]\n"))
  end)

  it("is refused with the line where it is no YAML that naq takes", function()
    local function only(pattern, text)
      local found = problems(text)
      assert.equal(1, #found, table.concat(found, "\n"))
      assert.matches(pattern, found[1])
    end
    only("^2: a tab cannot indent in YAML; use spaces$", "nats:\n\tuser: x\n")
    only("^2: not YAML: ", "nats: [1\nqueues: 2\n")
    only("^3: is not UTF%-8$", "nats:\n  user: x\n  password: \255\n")
    only("^1: is not UTF%-8$", "\255\254n\0a\0t\0s\0:\0")
    only("^2: holds a control character$", "nats:\n  user: a\0b\n")
    only("^3: key 'user' stands here twice, first in line 2$", "nats:\n  user: a\n  user: b\n")
    only("^2: a second document begins here", "nats: {}\n---\nqueues: {}\n")
    only("^1: tag !!?lua/function is not known here$", "nats: {user: !lua/function x}\n")
    only("^1: a key must be a word$", "? [a]\n: b\n")
    only("^1: alias %*x names no anchor", "nats: *x\n")
    only("^1: alias %*a names no anchor", "nats: &a {user: *a}\n")
    only("^2: << takes a mapping", "nats:\n  <<: 3\n")
    only("^1: nested deeper than 32 levels$", ("["):rep(100000))
    only("^1: nested deeper than 32 levels$", "nats: " .. ("{a: "):rep(40) .. "1" .. ("}"):rep(40))
  end)

  it("survives aliases that would multiply", function()
    local text = { "a: &a [x, x, x, x, x, x, x, x, x]" }
    for i = 1, 20 do
      local before = string.char(96 + i)
      text[#text + 1] = ("%s: &%s [*%s, *%s, *%s, *%s]"):format(
        string.char(97 + i), string.char(97 + i), before, before, before, before)
    end
    text[#text + 1] = "nats: {servers: *u}"
    local started = core.mono()
    assert.equal(21 + 4, #problems(table.concat(text, "\n")))
    assert.is_true(core.mono() - started < 2)
  end)

  it("never has its secrets in a message", function()
    local text = lines(
      "nats:",
      "  servers: ['nats://u:hunter2 @h']",
      "  password: [hunter2]",
      "  token: {hunter2: hunter2}",
      "  user: ''",
      "environments: {a: {nats: {password: [hunter2]}}}"
    )
    local found = table.concat(problems(text), "\n")
    assert.matches("nats.servers: must be nats://", found)
    assert.matches("nats.password: must be a string", found)
    assert.not_matches("hunter2", found)
  end)

  it("is one error for whoever connects, which names the first problem and counts the others", function()
    local c, message, code = resolve("nats:\n  a: 1\n  b: 2\n  c: 3\n")
    assert.is_nil(c)
    assert.equal(folder .. "/naq.yaml:2: unknown key 'nats.a' (and 2 more: naq config validate)", message)
    assert.equal("CONFIGURATION", code)
  end)
end)
