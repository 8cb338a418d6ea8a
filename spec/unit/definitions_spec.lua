local definitions = require("naq.definitions")
local naq = require("naq")

describe("naq.job()", function()
  local function noop() end
  before_each(function() definitions.take() end)
  after_each(function() definitions.take() end)

  local function refused(...)
    local ok, message = pcall(naq.job, ...)
    assert.is_false(ok)
    return message
  end

  it("records a definition with its options and where it stands", function()
    local line = debug.getinfo(1, "l").currentline + 1
    naq.job("resize", { max_retries = 5 }, noop)
    local found = definitions.list.resize
    assert.equal(noop, found.fn)
    assert.same({ max_retries = 5 }, found.options)
    assert.matches("definitions_spec.lua:" .. line .. "$", found.source)
  end)

  it("takes a function alone", function()
    naq.job("plain", noop)
    assert.equal(noop, definitions.list.plain.fn)
    assert.same({}, definitions.list.plain.options)
  end)

  it("refuses what is no definition", function()
    assert.matches("a job's name must be a string", refused(nil, noop))
    assert.matches("a job's name must be a string", refused("", noop))
    assert.matches("job 'x' has no function", refused("x"))
    assert.matches("job 'x' has no function", refused("x", {}))
    assert.matches("unknown option 'max_retrys'", refused("x", { max_retrys = 1 }, noop))
    assert.same({}, definitions.list)
  end)

  it("raises at the line of the definition", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() naq.job("x", { max_retries = -1 }, noop) end)
    assert.is_false(ok)
    assert.matches("definitions_spec.lua:" .. line .. ": option 'max_retries' must be at least 0", message)
  end)

  it("takes limits, and refuses what is none", function()
    naq.job("limited", { timeout = 0.5, memory_limit = "1.5GB", cpu_limit = 2, max_instructions = 1e6 }, noop)
    assert.equal("1.5GB", definitions.list.limited.options.memory_limit)
    assert.matches("'memory_limit' must be a number of bytes, or one like 64MB, not '64 XB'",
      refused("x", { memory_limit = "64 XB" }, noop))
    assert.matches("'timeout' must be at least 0, not %-1", refused("x", { timeout = -1 }, noop))
    assert.matches("'cpu_limit' must be a number, not 'long'", refused("x", { cpu_limit = "long" }, noop))
  end)

  it("refuses a second definition from another place, not the same one loaded again", function()
    local function load_it() naq.job("twice", noop) end
    load_it()
    load_it()
    assert.matches("job 'twice' is already defined at .*definitions_spec.lua:%d+", refused("twice", noop))
  end)

  it("is handed over once", function()
    naq.job("a", noop)
    assert.equal(noop, definitions.take().a.fn)
    assert.same({}, definitions.take())
  end)
end)
