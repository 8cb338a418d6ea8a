local config = require("naq.config")
local core = require("naq.core")

local function resolve(given, environment)
  return config.resolve(given, 1, function(name) return (environment or {})[name] end)
end

describe("config.resolve()", function()
  it("starts from the built-in defaults", function()
    local c = assert(resolve())
    assert.same({ "nats://127.0.0.1:4222" }, c.nats.servers)
    assert.equal("naq", c.nats.client_name)
    assert.same({ default = "default", prefix = "naq", ack_wait = 30, configs = {} }, c.queues)
    assert.equal(core.cpu_count(), c.workers.concurrency)
    assert.equal(15, c.workers.heartbeat_interval)
    assert.equal(60, c.workers.ttl)
    assert.equal(604800, c.results.ttl)
    assert.same({ level = "info", format = "text" }, c.logging)
    assert.equal("default", c.sources["queues.prefix"])
  end)

  it("puts the environment before the defaults", function()
    local c = assert(resolve(nil, {
      NAQ_NATS_URL = "nats://a:1, b:2",
      NAQ_DEFAULT_QUEUE = "mail",
      NAQ_DEFAULT_ACK_WAIT = "2.5",
      NAQ_WORKER_CONCURRENCY = "7",
      NAQ_WORKER_TTL = "90",
      NAQ_WORKER_HEARTBEAT_INTERVAL = "3",
      NAQ_DEFAULT_RESULT_TTL = "60",
      NAQ_LOG_LEVEL = "debug",
      NAQ_CLIENT_NAME = "shop",
      NAQ_MAX_RECONNECT = "5",
    }))
    assert.same({ "nats://a:1", "nats://b:2" }, c.nats.servers)
    assert.equal("mail", c.queues.default)
    assert.equal(2.5, c.queues.ack_wait)
    assert.equal(7, c.workers.concurrency)
    assert.equal(90, c.workers.ttl)
    assert.equal(3, c.workers.heartbeat_interval)
    assert.equal(60, c.results.ttl)
    assert.equal("debug", c.logging.level)
    assert.equal("shop", c.nats.client_name)
    assert.equal(5, c.nats.max_reconnect_attempts)
    assert.equal("environment NAQ_NATS_URL", c.sources["nats.servers"])
  end)

  it("knows every key as NAQ_<SECTION>_<KEY>", function()
    local c = assert(resolve(nil, {
      NAQ_QUEUES_PREFIX = "test",
      NAQ_WORKERS_MAX_CRASHES = "1",
      NAQ_NATS_TLS_ENABLED = "yes",
      NAQ_NATS_TLS_CA_FILE = "/ca.pem",
      NAQ_LOGGING_FORMAT = "json",
    }))
    assert.equal("test", c.queues.prefix)
    assert.equal(1, c.workers.max_crashes)
    assert.same({ enabled = true, ca_file = "/ca.pem", verify = true }, c.nats.tls)
    assert.equal("json", c.logging.format)
  end)

  it("takes an empty variable for an unset one", function()
    assert.same({ "nats://127.0.0.1:4222" }, resolve(nil, { NAQ_NATS_URL = "" }).nats.servers)
  end)

  it("names the variable that does not fit", function()
    local c, message, code = resolve(nil, { NAQ_WORKER_CONCURRENCY = "many" })
    assert.is_nil(c)
    assert.equal("environment variable NAQ_WORKER_CONCURRENCY must be a whole number, not 'many'", message)
    assert.equal("CONFIGURATION", code)
    assert.matches("NAQ_LOG_LEVEL must be one of", select(2, resolve(nil, { NAQ_LOG_LEVEL = "loud" })))
  end)

  it("puts options before the environment, flat or in sections", function()
    local environment = { NAQ_NATS_URL = "nats://env:1", NAQ_WORKER_CONCURRENCY = "7" }
    local flat = assert(resolve({ servers = "opt:1,opt:2", concurrency = 3, prefix = "p" }, environment))
    assert.same({ "nats://opt:1", "nats://opt:2" }, flat.nats.servers)
    assert.equal(3, flat.workers.concurrency)
    assert.equal("p", flat.queues.prefix)
    assert.equal("options", flat.sources["nats.servers"])
    local nested = assert(resolve({ nats = { servers = { "nats://n:1" }, tls = { verify = false } } }, environment))
    assert.same({ "nats://n:1" }, nested.nats.servers)
    assert.same({ verify = false }, nested.nats.tls)
    assert.equal(7, nested.workers.concurrency)
    assert.same({ ca_file = "/ca", verify = true }, resolve({ tls = { ca_file = "/ca" } }).nats.tls)
  end)

  it("raises at the caller's line for options that are misspelt or mistyped", function()
    local function refused(given)
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, message = pcall(function() local c = config.resolve(given, 1) return c end)
      assert.is_false(ok)
      assert.matches("config_spec.lua:" .. line .. ":", message)
      return message
    end
    assert.matches("unknown option 'server' %(did you mean 'servers'%?%)", refused({ server = "x" }))
    assert.matches("unknown option 'nats.servus'", refused({ nats = { servus = "x" } }))
    assert.matches("option 'concurrency' must be at least 1", refused({ concurrency = 0 }))
    assert.matches("option 'nats' must be a table", refused({ nats = 1 }))
    assert.matches("option 'prefix' must be 1 to 64", refused({ prefix = "a.b" }))
    assert.matches("options must be a table", refused("nats://x"))
  end)

  it("does not repeat a secret", function()
    local ok, message = pcall(config.resolve, { password = 12345 })
    assert.is_false(ok)
    assert.not_matches("12345", message)
  end)
end)
