-- A configuration is resolved once for the same options, and again as soon as anything it came from changes.
local core = require("naq.core")
local memory = require("naq.config_memory")
local support = require("spec.support")
local eventually = support.eventually

local VARIABLES = { "NAQ_NATS_URL", "NAQ_CONFIG", "NAQ_SPEC_NAME", "HOME" }

describe("config_memory.resolve()", function()
  local folder, before
  before_each(function()
    folder, before = assert(core.mkdtemp("naq-spec-memory")), {}
    for _, name in ipairs(VARIABLES) do
      before[name] = os.getenv(name)
    end
    core.setenv("HOME", folder)
  end)
  after_each(function()
    for _, name in ipairs(VARIABLES) do
      core.setenv(name, before[name])
    end
    core.rmtree(folder)
  end)

  local function write(text)
    local f = assert(io.open(folder .. "/naq.yaml", "wb"))
    f:write(text)
    f:close()
    return folder .. "/naq.yaml"
  end

  it("remembers what was resolved for options of the same content", function()
    local function options()
      return { config = false, servers = { "nats://a", "nats://b" }, tls = { verify = false }, pool_size = 2 }
    end
    local first = assert(memory.resolve(options()))
    assert.equal(first, memory.resolve(options()))
    assert.equal(memory.resolve(), memory.resolve())
    assert.not_equal(first, memory.resolve())
  end)

  it("tells options from each other", function()
    local seen = {}
    for i, options in ipairs({
      {},
      { servers = "a,b" },
      { servers = { "a", "b" } },
      { servers = { "a,b" } },
      { user = "a", password = "b" },
      { user = "ab", password = "" },
      { user = "true" },
      { tls = { verify = true } },
      { tls = { verify = false } },
      { pool_size = 1 },
      { pool_size = 10 },
      { ping_interval = 0.1 },
      { ping_interval = 0.1 + 2 ^ -55 },
    }) do
      options.config = false
      local resolved = assert(memory.resolve(options))
      assert.is_nil(seen[resolved], "the options " .. i .. " are taken for " .. tostring(seen[resolved]))
      seen[resolved] = i
    end
  end)

  it("sees an environment that changes", function()
    core.setenv("NAQ_NATS_URL", "nats://one")
    assert.same({ "nats://one" }, memory.resolve({}).nats.servers)
    core.setenv("NAQ_NATS_URL", "nats://two")
    assert.same({ "nats://two" }, memory.resolve({}).nats.servers)
    core.setenv("NAQ_NATS_URL", nil)
    assert.same({ "nats://127.0.0.1:4222" }, memory.resolve({}).nats.servers)
  end)

  it("sees a file that is written, and is not read again while it stays", function()
    local path = write("nats: {client_name: '1'}\n")
    for i = 1, 200 do -- faster than a file system's clock ticks, of the same size, in place
      write(("nats: {client_name: '%d'}\n"):format(i % 10))
      assert.equal(tostring(i % 10), memory.resolve({ config = path }).nats.client_name)
    end
    eventually(function()
      return memory.resolve({ config = path }) == memory.resolve({ config = path })
    end, 10, "the file to be remembered")
    write("nats: {client_name: 'x'}\n")
    assert.equal("x", memory.resolve({ config = path }).nats.client_name)
    os.remove(path)
    assert.equal("CONFIGURATION", select(3, memory.resolve({ config = path })))
  end)

  it("sees the variables that a file names, and another file's name", function()
    local path = write("nats: {client_name: '${NAQ_SPEC_NAME:none}'}\n")
    core.setenv("NAQ_CONFIG", path)
    assert.equal("none", memory.resolve().nats.client_name)
    eventually(function() return memory.resolve() == memory.resolve() end, 10, "the file to be remembered")
    core.setenv("NAQ_SPEC_NAME", "ada")
    assert.equal("ada", memory.resolve().nats.client_name)
    core.setenv("NAQ_CONFIG", nil)
    assert.equal("naq", memory.resolve().nats.client_name)
    os.execute("mkdir -p " .. folder .. "/.naq")
    assert(os.rename(path, folder .. "/.naq/config.yaml"))
    assert.equal("ada", memory.resolve().nats.client_name)
  end)

  it("raises for misuse and reports problems each time, at the caller's line", function()
    local loop = {}
    loop.tls = loop
    for _, wrong in ipairs({ { sevrers = "x" }, { config = 5 }, { user = print }, loop }) do
      for _ = 1, 2 do
        local ok, message = pcall(function() memory.resolve(wrong) end)
        assert.is_false(ok)
        assert.matches("config_memory_spec.lua:%d+: ", message)
      end
    end
    for _ = 1, 2 do
      assert.equal("CONFIGURATION", select(3, memory.resolve({ password = "x" })))
    end
  end)
end)
