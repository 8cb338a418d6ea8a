local policy = require("naq.policy")
local retry = require("naq.retry")

local function resolved(options) return (retry.resolve(nil, options)) end

describe("retry.resolve()", function()
  it("starts from the defaults", function() assert.same(policy.DEFAULTS, resolved(nil)) end)

  it("puts the payload before the job before the default", function()
    local p = retry.resolve({ max_retries = 7 }, { max_retries = 5, retry_delay = 2 })
    assert.equal(7, p.max_retries)
    assert.equal(2, p.retry_delay)
    assert.equal("exponential", p.retry_strategy)
  end)

  it("takes each option from the first that says it: payload, job, queue, default", function()
    local values = {
      max_retries = { 1, 2, 3 },
      retry_delay = { 0.1, { 0.2, 2 }, 0.3 },
      retry_strategy = { "fixed", "linear", "exponential" },
      retry_jitter = { 0.1, 0.2, 0.3 },
      retry_max_delay = { 1, 2, 3 },
      retry_on = { { "A" }, { "B" }, { "C" } },
      ignore_on = { { "D" }, { "E" }, {} },
      result_ttl = { 10, 20, 0 },
    }
    for name in pairs(policy.DECLARATION) do
      local value = assert(values[name], name .. " is not tested")
      for mask = 0, 7 do
        local levels, expected = {}, policy.DEFAULTS[name]
        for level = 3, 1, -1 do
          local says = math.floor(mask / 2 ^ (level - 1)) % 2 == 1
          levels[level] = says and { [name] = value[level] } or (mask % 3 == 0 and {} or nil)
          if says then expected = value[level] end
        end
        local p = retry.resolve(levels[1], levels[2], levels[3])
        assert.same(expected, p[name], ("%s, combination %d"):format(name, mask))
      end
    end
  end)

  it("passes over members of a payload that are not what they should be, and names them", function()
    local p, ignored = retry.resolve({ max_retries = "many", retry_delay = { 1 } }, { max_retries = 5 })
    assert.equal(5, p.max_retries)
    assert.same({ 1 }, p.retry_delay)
    assert.equal("max_retries must be a whole number, not 'many'", ignored)
    assert.is_nil(select(2, retry.resolve({ max_retries = 1 }, nil)))
    p, ignored = retry.resolve({ retry_on = { "fine", "[busy" } }, { retry_on = { "BUSY" } })
    assert.same({ "BUSY" }, p.retry_on)
    assert.matches("retry_on holds '[busy', which is no Lua pattern", ignored, 1, true)
  end)
end)

describe("retry.delay()", function()
  local function delays(options, n)
    options.retry_jitter = options.retry_jitter or 0
    local p, list = resolved(options), {}
    for k = 1, n do
      list[k] = retry.delay(p, k)
    end
    return list
  end

  it("doubles, adds up or stays", function()
    assert.same({ 2, 4, 8, 16 }, delays({ retry_delay = 2 }, 4))
    assert.same({ 2, 4, 6, 8 }, delays({ retry_delay = 2, retry_strategy = "linear" }, 4))
    assert.same({ 2, 2, 2, 2 }, delays({ retry_delay = 2, retry_strategy = "fixed" }, 4))
  end)

  it("takes a list as it stands, its last value repeating, whatever the strategy", function()
    assert.same({ 1, 5, 9, 9 }, delays({ retry_delay = { 1, 5, 9 }, retry_strategy = "linear" }, 4))
  end)

  it("stops at the ceiling, before the jitter", function()
    assert.same({ 10, 15, 15 }, delays({ retry_delay = 10, retry_max_delay = 15 }, 3))
    local p = resolved({ retry_delay = 10, retry_max_delay = 5, retry_jitter = 0.2 })
    assert.near(6, retry.delay(p, 1, function() return 0.99999999 end), 1e-6)
  end)

  it("spreads by the jitter's share to both sides", function()
    local p = resolved({ retry_delay = 100, retry_strategy = "fixed", retry_jitter = 0.5 })
    assert.equal(50, retry.delay(p, 1, function() return 0 end))
    assert.equal(100, retry.delay(p, 1, function() return 0.5 end))
    for _ = 1, 100 do
      local d = retry.delay(p, 1)
      assert.is_true(d >= 50 and d < 150)
    end
  end)

  it("stays a number for any k", function()
    assert.equal(3600, retry.delay(resolved({ retry_jitter = 0 }), 1e6))
    assert.equal(0, retry.delay(resolved({ retry_delay = 0 }), 1e6))
  end)
end)

describe("retry.applies()", function()
  it("counts attempts after the first", function()
    local p = resolved({ max_retries = 2 })
    assert.is_true(retry.applies(p, 1, "no", "JOB_ERROR"))
    assert.is_true(retry.applies(p, 2, "no", "JOB_ERROR"))
    assert.is_false(retry.applies(p, 3, "no", "JOB_ERROR"))
    assert.is_false(retry.applies(resolved({ max_retries = 0 }), 1, "no", "JOB_ERROR"))
  end)

  it("retries only what retry_on names, by code or by pattern", function()
    local p = resolved({ retry_on = { "BUSY", "^timeout after %d+" } })
    assert.is_true(retry.applies(p, 1, "no", "BUSY"))
    assert.is_true(retry.applies(p, 1, "timeout after 3 s", "JOB_ERROR"))
    assert.is_false(retry.applies(p, 1, "a timeout after 3 s", "JOB_ERROR"))
    assert.is_false(retry.applies(p, 1, nil, nil))
    assert.is_false(retry.applies(resolved({ retry_on = {} }), 1, "no", "BUSY"))
  end)

  it("lets ignore_on win", function()
    local p = resolved({ retry_on = { "E1", "E2" }, ignore_on = { "E2", "never" } })
    assert.is_true(retry.applies(p, 1, "no", "E1"))
    assert.is_false(retry.applies(p, 1, "no", "E2"))
    assert.is_false(retry.applies(p, 1, "never again", "E1"))
  end)

  it("looks for a pattern that is too much for string.find() as it stands", function()
    local heavy = ("a?"):rep(300)
    if pcall(string.find, ("a"):rep(250), heavy) then return end -- Lua 5.1 takes it
    local p = resolved({ retry_on = { heavy } })
    assert.is_false(retry.applies(p, 1, ("a"):rep(250), "X"))
    assert.is_true(retry.applies(p, 1, heavy, "X"))
  end)
end)
