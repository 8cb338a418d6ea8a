-- naq config show, validate, init, and --config everywhere, as processes. No server.

local core = require("naq.core")
local support = require("spec.support")
local naq = support.naq

local folder

local function write(name, text)
  local f = assert(io.open(folder .. "/" .. name, "wb"))
  f:write(text)
  f:close()
end

local function read(name)
  local f = io.open(folder .. "/" .. name, "rb")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  return text
end

--- naq in the folder, with a home of its own and none of our environment.
local function run(...)
  local args = { ... }
  local options = type(args[#args]) == "table" and table.remove(args) or {}
  local env = { HOME = folder .. "/home", NAQ_NATS_URL = false, NAQ_CONFIG = false, NAQ_ENVIRONMENT = false }
  for k, v in pairs(options.env or {}) do
    env[k] = v
  end
  args[#args + 1] = { env = env, cwd = folder }
  return naq((table.unpack or unpack)(args)) -- luacheck: ignore 113 143
end

describe("naq config", function()
  before_each(function()
    folder = assert(core.mkdtemp("naq-spec-config"))
    assert(os.execute(("mkdir -p '%s/home/.naq'"):format(folder)))
  end)
  after_each(function() core.rmtree(folder) end)

  describe("show", function()
    it("prints the nested configuration as JSON, secrets hidden", function()
      write("naq.yaml", "nats: {user: ada, password: hunter2}\nqueues: {configs: {mail: {ack_wait: 5}}}\n")
      local status, out, errors = run("config", "show", "--json", "-u", "nats://x:hunter2@h:1,h:2")
      assert.equal(0, status, errors)
      assert.not_matches("hunter2", out)
      local shown = assert(core.decode(out))
      assert.same({ "nats://***@h:1", "nats://h:2" }, shown.nats.servers)
      assert.equal("***", shown.nats.password)
      assert.equal("ada", shown.nats.user)
      assert.is_nil(shown.nats.token)
      assert.equal(5, shown.queues.configs.mail.ack_wait)
      assert.equal(604800, shown.results.ttl)
      assert.is_true(shown.scheduler.enabled)
    end)

    it("says with --sources where each value came from", function()
      write("naq.yaml", "workers:\n  concurrency: 3\nenvironments:\n  live:\n    workers: {ttl: 61}\n")
      local status, out = run("config", "show", "--json", "--sources", "-l", "debug", {
        env = {
          NAQ_ENVIRONMENT = "live",
          NAQ_DEFAULT_QUEUE = "mail",
          NAQ_NATS_PASSWORD = "hunter2",
          NAQ_NATS_USER = "u",
        },
      })
      assert.equal(0, status)
      local shown = assert(core.decode(out))
      assert.same({ value = 3, source = "file ./naq.yaml:2" }, shown.workers.concurrency)
      assert.same({ value = 61, source = "file ./naq.yaml:5 (live)" }, shown.workers.ttl)
      assert.same({ value = "mail", source = "environment NAQ_DEFAULT_QUEUE" }, shown.queues.default)
      assert.same({ value = "***", source = "environment NAQ_NATS_PASSWORD" }, shown.nats.password)
      assert.same({ value = "debug", source = "options" }, shown.logging.level)
      assert.same({ value = "text", source = "default" }, shown.logging.format)
      assert.same({ value = { "nats://127.0.0.1:4222" }, source = "default" }, shown.nats.servers)
    end)

    it("prints YAML for people, with the sources as comments", function()
      local status, out = run("config", "show", "--sources", { env = { NAQ_DASHBOARD_PORT = "9000" } })
      assert.equal(0, status)
      assert.matches("\ndashboard:\n", out)
      assert.matches("\n  port: 9000 +# environment NAQ_DASHBOARD_PORT\n", out)
      write("naq.yaml", out)
      assert.equal(0, (run("config", "validate")))
    end)

    it("fails with the file and the line of what is wrong", function()
      write("naq.yaml", "nats:\n  sever: x\n")
      local status, out, errors = run("config", "show")
      assert.equal(1, status)
      assert.equal("", out)
      assert.equal("naq: ./naq.yaml:2: unknown key 'nats.sever' (did you mean 'nats.servers'?)\n", errors)
    end)
  end)

  describe("validate", function()
    it("prints all that is wrong, with file and line", function()
      write("naq.yaml", "nats:\n  sever: x\nworkers:\n  concurrency: many\n")
      local status, out, errors = run("config", "validate", { env = { NAQ_LOG_LEVEL = "loud" } })
      assert.equal(1, status)
      assert.equal("", errors)
      assert.equal(table.concat({
        "./naq.yaml:2: unknown key 'nats.sever' (did you mean 'nats.servers'?)",
        "./naq.yaml:4: workers.concurrency: must be a whole number, not 'many'",
        "environment variable NAQ_LOG_LEVEL must be one of error, warn, info, debug, not 'loud'",
        "",
      }, "\n"), out)
    end)

    it("prints it as JSON", function()
      write("other.yaml", "nats:\n  ping_interval: x\n")
      local status, out = run("config", "validate", "--json", "other.yaml")
      assert.equal(1, status)
      assert.same({
        ok = false,
        file = "other.yaml",
        problems = {
          { file = "other.yaml", line = 2, message = "nats.ping_interval: must be a number, not 'x'" },
        },
      }, core.decode(out))
    end)

    it("is content with a file that is fine, and with none", function()
      local status, out = run("config", "validate")
      assert.equal(0, status)
      assert.equal("no configuration file; the environment is fine\n", out)
      write("home/.naq/config.yaml", "nats:\n")
      status, out = run("config", "validate", "--json")
      assert.equal(0, status)
      assert.same({ ok = true, file = folder .. "/home/.naq/config.yaml", problems = {} }, core.decode(out))
    end)

    it("fails for a file that is not there", function()
      local status, out = run("config", "validate", "no.yaml")
      assert.equal(1, status)
      assert.equal("configuration file no.yaml: there is no such file\n", out)
    end)
  end)

  describe("init", function()
    it("writes a file that is fine and changes nothing", function()
      local _, before = run("config", "show", "--json")
      local status, out = run("config", "init")
      assert.equal(0, status)
      assert.matches("^wrote naq.yaml", out)
      status = run("config", "validate")
      assert.equal(0, status)
      local _, after = run("config", "show", "--json")
      assert.same(core.decode(before), core.decode(after))
    end)

    it("leaves a file that exists alone unless it is told otherwise", function()
      write("naq.yaml", "mine")
      local status, _, errors = run("config", "init")
      assert.equal(1, status)
      assert.equal("naq: naq.yaml exists; --force overwrites it\n", errors)
      assert.equal("mine", read("naq.yaml"))
      assert.equal(0, (run("config", "init", "--yes")))
      assert.matches("^# naq.yaml", read("naq.yaml"))
      write("x.yaml", "mine")
      local _, out = run("config", "init", "x.yaml", "--force", "--json")
      assert.same({ file = "x.yaml" }, core.decode(out))
      assert.matches("^# naq.yaml", read("x.yaml"))
    end)

    it("says why it cannot write", function()
      local status, _, errors = run("config", "init", "no/naq.yaml")
      assert.equal(1, status)
      assert.matches("cannot write no/naq.yaml: No such file or directory", errors)
    end)
  end)
end)

describe("the configuration of a command", function()
  before_each(function()
    folder = assert(core.mkdtemp("naq-spec-config"))
    write("naq.yaml", "nats: {servers: 'nats://127.0.0.1:1'}\n")
    write("other.yaml", "nats: {servers: 'nats://ada:hunter2@127.0.0.1:2', connection_timeout: 1}\n")
  end)
  after_each(function() core.rmtree(folder) end)

  it("comes from the file, behind the environment and -u", function()
    local function server(...)
      local status, _, errors = run(...)
      assert.equal(3, status, errors)
      assert.not_matches("hunter2", errors)
      return errors:match("nats://127%.0%.0%.1:%d+") or errors
    end
    assert.equal("nats://127.0.0.1:1", server("workers"))
    assert.equal("nats://127.0.0.1:2", server("workers", "--config", "other.yaml"))
    assert.equal("nats://127.0.0.1:2", server("--config", "other.yaml", "queue", "list"))
    assert.equal("nats://127.0.0.1:2", server("workers", { env = { NAQ_CONFIG = "other.yaml" } }))
    assert.equal("nats://127.0.0.1:1", server("workers", "--config", "naq.yaml", {
      env = { NAQ_CONFIG = "other.yaml" },
    }))
    assert.equal("nats://127.0.0.1:3", server("workers", { env = { NAQ_NATS_URL = "nats://127.0.0.1:3" } }))
    assert.equal("nats://127.0.0.1:4", server("workers", "-u", "nats://127.0.0.1:4", {
      env = { NAQ_NATS_URL = "nats://127.0.0.1:3" },
    }))
  end)

  it("is refused in one sentence where it is wrong", function()
    write("naq.yaml", "nats: {sever: x}\n")
    write("jobs.lua", "require('naq').job('x', function() end)\n")
    for _, command in ipairs({ { "doctor" }, { "worker", "--jobs", "jobs.lua" }, { "enqueue", "x" } }) do
      local status, out, errors = run((table.unpack or unpack)(command)) -- luacheck: ignore 113 143
      assert.equal(1, status)
      assert.equal("", out)
      assert.equal("naq: ./naq.yaml:1: unknown key 'nats.sever' (did you mean 'nats.servers'?)\n", errors)
    end
    local status, _, errors = run("workers", "--json", "--config", "no.yaml")
    assert.equal(1, status)
    assert.same({
      error = { code = "CONFIGURATION", message = "configuration file no.yaml: there is no such file" },
    }, core.decode(errors))
  end)

  it("is that of a program behind naq run", function()
    write("show.lua", "print(require('naq.config').resolve().nats.servers[1])\n")
    local status, out = run("run", "--config", "other.yaml", "show.lua")
    assert.equal(0, status)
    assert.matches("127.0.0.1:2", out)
  end)
end)
