local config = require("naq.config")
local core = require("naq.core")
local keys = require("naq.config_keys")

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

  -- A value that is not the default, as text and as it then is.
  local function another(k)
    local text, value = "2.5", 2.5
    local kind = type(k.type) == "table" and k.type[1] or k.type
    if k.path == "nats.servers" then
      text, value = "nats://other:1", { "nats://other:1" }
    elseif k.one_of then
      text = k.one_of[1] == k.default and k.one_of[2] or k.one_of[1]
      value = text
    elseif kind == "boolean" then
      value = not k.default
      text = tostring(value)
    elseif kind == "integer" then
      text, value = "5", 5
    elseif kind == "string" then
      text, value = "other", "other"
    end
    return text, value
  end

  it("takes each key from each of its variables, and from an option of its name", function()
    for _, k in ipairs(keys.LIST) do
      if not k.of_queue then
        local text, value = another(k)
        local function leaf(c)
          for _, part in ipairs(keys.parts(k.path)) do
            c = c[part]
          end
          return c
        end
        -- What cannot stand alone.
        local given = ({
          ["nats.password"] = { user = "u" },
          ["nats.tls.cert_file"] = { tls = { key_file = "k" } },
          ["nats.tls.key_file"] = { tls = { cert_file = "c" } },
        })[k.path]
        assert.equal("NAQ_" .. k.path:upper():gsub("[.]", "_"), k.env[1])
        for _, name in ipairs(k.env) do
          local c = assert(resolve(given, { [name] = text }))
          assert.same(value, leaf(c), name)
          assert.equal("environment " .. name, c.sources[k.path])
        end
        if k.flat then
          local options = { user = "u" }
          options[k.flat] = value
          assert.same(value, leaf(assert(resolve(options))), k.flat)
        end
      end
    end
  end)

  it("knows the variables of the Python library", function()
    local known = {}
    for _, k in ipairs(keys.LIST) do
      for _, name in ipairs(k.env) do
        known[name] = k.path
      end
    end
    for name, path in pairs({
      NAQ_NATS_URL = "nats.servers",
      NAQ_CLIENT_NAME = "nats.client_name",
      NAQ_MAX_RECONNECT = "nats.max_reconnect_attempts",
      NAQ_DEFAULT_QUEUE = "queues.default",
      NAQ_WORKER_CONCURRENCY = "workers.concurrency",
      NAQ_WORKER_TTL = "workers.ttl",
      NAQ_WORKER_HEARTBEAT_INTERVAL = "workers.heartbeat_interval",
      NAQ_DEFAULT_RESULT_TTL = "results.ttl",
      NAQ_DEFAULT_ACK_WAIT = "queues.ack_wait",
      NAQ_SCHEDULER_LOCK_TTL = "scheduler.lock_ttl",
      NAQ_MAX_SCHEDULE_FAILURES = "scheduler.max_failures",
      NAQ_EVENTS_ENABLED = "events.enabled",
      NAQ_LOG_LEVEL = "logging.level",
      NAQ_DASHBOARD_HOST = "dashboard.host",
      NAQ_DASHBOARD_PORT = "dashboard.port",
    }) do
      assert.equal(path, known[name], name)
    end
  end)

  it("takes a queue's key from a variable where the queue is configured", function()
    local c = assert(resolve({ queues = { configs = { ["slow-mail"] = {} } } }, {
      NAQ_QUEUES_CONFIGS_SLOW_MAIL_ACK_WAIT = "9",
      NAQ_QUEUES_CONFIGS_SLOW_MAIL_RETRY_DELAY = "1, 2.5",
      NAQ_QUEUES_CONFIGS_SLOW_MAIL_RETRY_ON = "TIMEOUT",
      NAQ_QUEUES_CONFIGS_OTHER_ACK_WAIT = "9",
    }))
    assert.same({ ack_wait = 9, retry_delay = { 1, 2.5 }, retry_on = { "TIMEOUT" } }, c.queues.configs["slow-mail"])
    assert.is_nil(c.queues.configs.other)
  end)

  it("splits servers at commas, but for those in a password", function()
    local function list(text) return assert(resolve(nil, { NAQ_NATS_URL = text })).nats.servers end
    assert.same({ "nats://a:1", "nats://b" }, list(" a:1 , b"))
    assert.same({ "nats://u:p,w@a", "nats://b" }, list("nats://u:p,w@a,b"))
    assert.same({ "nats://u:p,w,x@a:1", "tls://b" }, list("nats://u:p,w,x@a:1, tls://b"))
    assert.same({ "nats://u:p@a", "nats://v:q@b" }, list("nats://u:p@a,v:q@b"))
  end)

  it("refuses what cannot stand alone, with where it comes from", function()
    local c, message, code = resolve({ tls = { cert_file = "c" } }, {})
    assert.is_nil(c)
    assert.equal("nats.tls.cert_file needs nats.tls.key_file beside it (from: options)", message)
    assert.equal("CONFIGURATION", code)
    c, message = resolve(nil, { NAQ_NATS_PASSWORD = "hunter2" })
    assert.is_nil(c)
    assert.equal("nats.password needs nats.user beside it (from: environment NAQ_NATS_PASSWORD)", message)
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

  it("takes what belongs to queues under a flat name, too", function()
    local c = assert(resolve({ queue_configs = { mail = { ack_wait = 5 } } }, {
      NAQ_QUEUES_CONFIGS_MAIL_MAX_RETRIES = "1",
    }))
    assert.same({ mail = { ack_wait = 5, max_retries = 1 } }, c.queues.configs)
  end)

  it("refuses times that no clock holds", function()
    for _, k in ipairs(keys.LIST) do
      if k.type == "number" and k.flat and k.max then
        assert.error_matches(function() resolve({ [k.flat] = 1e12 }) end, "option '" .. k.flat .. "' must be at most")
      end
    end
    assert.matches("must be at most", select(2, resolve(nil, { NAQ_NATS_CONNECTION_TIMEOUT = "1e12" })))
  end)

  it("raises for one that is given twice, flat and in its section", function()
    assert.error_matches(
      function() resolve({ servers = "a", nats = { servers = "b" } }) end,
      "option 'nats.servers' is given twice"
    )
  end)

  it("does not repeat a secret", function()
    local ok, message = pcall(config.resolve, { password = 12345 })
    assert.is_false(ok)
    assert.not_matches("12345", message)
  end)
end)
