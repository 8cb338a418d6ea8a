local core = require("naq.core")
local errors = require("naq.errors")

describe("errors", function()
  it("has a constant for every code of the core", function()
    for _, code in ipairs(core.codes) do
      if code ~= "OK" then assert.equal(code, errors[code]) end
    end
  end)

  it("raises for a constant that does not exist", function()
    local ok, message = pcall(function() return errors.TIMOUT end)
    assert.is_false(ok)
    assert.matches("errors_spec.lua:%d+: naq.errors has no code 'TIMOUT'", message)
  end)

  it("tells what is worth another try", function()
    assert.is_true(errors.is_retryable("TIMEOUT"))
    assert.is_true(errors.is_retryable(errors.STORAGE_FULL))
    assert.is_false(errors.is_retryable("DUPLICATE"))
    assert.is_false(errors.is_retryable("A_JOBS_OWN"))
    assert.is_false(errors.is_retryable(nil))
  end)
end)
