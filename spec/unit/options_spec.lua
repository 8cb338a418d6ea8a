local options = require("naq.options")

describe("options.apply()", function()
  local DECLARATION = {
    priority = { type = "string", one_of = { "high", "normal", "low" } },
    max_retries = { type = "integer", min = 0, max = 10 },
    retry_delay = { type = { "number", "numbers" }, min = 0 },
    retry_on = { type = "strings" },
    color = {
      type = "string",
      check = function(v) return v == "red" and "must not be red" or nil end,
    },
    delay = { type = "number", unsupported = true },
  }
  local WITH_DEFAULTS = { a = { type = "number", default = 3 }, b = { type = "string" } }

  local function refused(given)
    local ok, message = pcall(function() options.apply(DECLARATION, given, 1) end)
    assert.is_false(ok)
    return message
  end

  it("takes no options for an empty table", function()
    assert.same({}, options.apply(DECLARATION, nil, 1))
  end)

  it("passes what fits the declaration", function()
    local given = { priority = "low", max_retries = 2, retry_delay = { 1, 2.5 }, retry_on = {} }
    assert.same(given, options.apply(DECLARATION, given, 1))
  end)

  it("fills in defaults and leaves the caller's table alone", function()
    local given = { b = "x" }
    assert.same({ a = 3, b = "x" }, options.apply(WITH_DEFAULTS, given, 1))
    assert.same({ b = "x" }, given)
  end)

  it("names a misspelt option and the one that was meant", function()
    assert.matches("unknown option 'prioritty' %(did you mean 'priority'%?%)$", refused({ prioritty = "low" }))
    assert.matches("unknown option 'max_retires' %(did you mean 'max_retries'%?%)$", refused({ max_retires = 1 }))
    assert.matches("unknown option 'quite_other'$", refused({ quite_other = 1 }))
    assert.matches("unknown option '1'$", refused({ "low" }))
  end)

  it("says what a value of the wrong type must be", function()
    assert.matches("option 'max_retries' must be a whole number, not '3'$", refused({ max_retries = "3" }))
    assert.matches("must be a whole number, not 1.5$", refused({ max_retries = 1.5 }))
    assert.matches("must be a number or a list of numbers, not a table$", refused({ retry_delay = { "a" } }))
    assert.matches("must be a list of strings, not a table$", refused({ retry_on = { a = "b" } }))
    assert.matches("must be a number or a list of numbers, not ", refused({ retry_delay = 0 / 0 }))
    assert.matches("options must be a table, not 'fast'$", refused("fast"))
  end)

  it("holds numbers to their bounds, in lists too", function()
    assert.matches("must be at least 0, not %-1$", refused({ max_retries = -1 }))
    assert.matches("must be at most 10, not 11$", refused({ max_retries = 11 }))
    assert.matches("must be at least 0, not %-2$", refused({ retry_delay = { 1, -2 } }))
  end)

  it("holds words to their list and to their check", function()
    assert.matches("must be one of high, normal, low, not 'urgent'$", refused({ priority = "urgent" }))
    assert.matches("option 'color' must not be red$", refused({ color = "red" }))
  end)

  it("answers UNSUPPORTED for an option of a later version, once its type is right", function()
    local opts, message, code = options.apply(DECLARATION, { delay = 5 }, 1)
    assert.is_nil(opts)
    assert.equal("option 'delay' is not supported by this version", message)
    assert.equal("UNSUPPORTED", code)
    assert.matches("option 'delay' must be a number", refused({ delay = "soon" }))
  end)

  it("raises at the line that the level means", function()
    local function api(opts)
      local checked = options.apply(DECLARATION, opts, 2)
      return checked
    end
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() api({ nothing = 1 }) end)
    assert.is_false(ok)
    assert.matches("options_spec.lua:" .. line .. ": unknown option", message)
  end)
end)
