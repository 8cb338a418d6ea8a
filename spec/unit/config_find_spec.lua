-- Where the configuration file is found, and what happens without the module that reads it.

local config = require("naq.config")
local config_file = require("naq.config_file")
local core = require("naq.core")

local folder

local function write(name, text)
  local path = folder .. "/" .. name
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

describe("finding the configuration file", function()
  local function find(named, environment)
    return config_file.find(named, function(name) return (environment or {})[name] end)
  end

  before_each(function() folder = assert(core.mkdtemp("naq-spec-config")) end)
  after_each(function() core.rmtree(folder) end)

  it("takes the one that is named, before NAQ_CONFIG", function()
    local a, b = write("a.yaml", "nats: {client_name: a}\n"), write("b.yaml", "nats: {client_name: b}\n")
    local function getenv(name) return name == "NAQ_CONFIG" and b or nil end
    assert.equal("a", assert(config.resolve({ config = a }, 1, getenv)).nats.client_name)
    assert.equal("b", assert(config.resolve(nil, 1, getenv)).nats.client_name)
    assert.equal("naq", assert(config.resolve({ config = false }, 1, getenv)).nats.client_name)
  end)

  it("looks into the home directory, where there is one", function()
    assert.is_nil(find(nil, { HOME = folder }))
    assert.is_nil(find(nil, {}))
    assert(os.execute(("mkdir '%s/.naq'"):format(folder)))
    write(".naq/config.yaml", "nats:\n")
    assert.equal(folder .. "/.naq/config.yaml", (find(nil, { HOME = folder })))
  end)

  it("fails clearly for a named file that is not there, a directory, a file too large", function()
    local function refused(path)
      local c, message, code = config.resolve({ config = path }, 1, function() end)
      assert.is_nil(c)
      assert.equal("CONFIGURATION", code)
      return message
    end
    assert.equal(("configuration file %s/no.yaml: there is no such file"):format(folder), refused(folder .. "/no.yaml"))
    assert.matches("cannot be read: Is a directory$", refused(folder))
    assert(os.execute(("ln -s loop.yaml '%s/loop.yaml'"):format(folder)))
    assert.matches("cannot be read: Too many levels of symbolic links$", refused(folder .. "/loop.yaml"))
    assert.matches("is larger than 1 MB$", refused(write("large.yaml", ("#"):rep(1048577))))
    assert.equal("there is no such file", select(3, find(folder .. "/a/b")))
  end)

  it("refuses an environment that no file has", function()
    local function getenv(name) return ({ NAQ_ENVIRONMENT = "live", HOME = folder })[name] end
    local c, message = config.resolve(nil, 1, getenv)
    assert.is_nil(c)
    assert.equal("NAQ_ENVIRONMENT is 'live', and there is no configuration file that has it", message)
  end)

  it("raises for a name that is no name", function()
    assert.error_matches(function() config.resolve({ config = 3 }) end, "option 'config' must be a file's name")
  end)
end)

describe("without lyaml", function()
  local loaded, preload = {}, {}
  before_each(function()
    folder = assert(core.mkdtemp("naq-spec-config"))
    for _, name in ipairs({ "lyaml", "yaml" }) do
      loaded[name], preload[name] = package.loaded[name], package.preload[name]
      package.loaded[name] = nil
      package.preload[name] = function() error("module '" .. name .. "' not found:\n\tno field", 0) end
    end
  end)
  after_each(function()
    for _, name in ipairs({ "lyaml", "yaml" }) do
      package.loaded[name], package.preload[name] = loaded[name], preload[name]
    end
    core.rmtree(folder)
  end)

  it("a file is refused with what to install", function()
    local c, message, code = config.resolve({ config = write("naq.yaml", "nats: {}\n") }, 1, function() end)
    assert.is_nil(c)
    assert.equal("CONFIGURATION", code)
    assert.equal(
      folder .. "/naq.yaml: lyaml cannot be loaded (Debian's lua-yaml, or `luarocks install lyaml`): "
        .. "module 'lyaml' not found",
      message
    )
  end)

  it("everything but files works", function()
    assert(config.resolve({ servers = "nats://x" }, 1, function() end))
  end)
end)
