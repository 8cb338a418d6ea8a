-- naq schedule next, as a process. No server.

local core = require("naq.core")
local support = require("spec.support")

local function run(...)
  local args = { "schedule", "next", ... }
  args[#args + 1] = { env = { NAQ_NATS_URL = "nats://127.0.0.1:1" } }
  return support.naq((table.unpack or unpack)(args)) -- luacheck: ignore 113 143
end

local function times(...)
  local status, out, errors = run("--json", ...)
  assert.equal(0, status, errors)
  return assert(core.decode(out))
end

describe("naq schedule next", function()
  it("prints UTC times strictly after the one given, as an array", function()
    -- Berlin puts its clocks forward on 29 March 2026 at 02:00, which is 01:00 UTC.
    local found = times("30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28T01:30:00Z", "-n", "2")
    assert.same({ "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z" }, found)
  end)

  it("takes five times from now in UTC when nothing else is said", function()
    local found = times("* * * * *")
    assert.equal(5, #found)
    local first = require("naq.moment").seconds(found[1])
    assert(first > core.now() - 60 and first <= core.now() + 60, found[1])
  end)

  it("prints lines without --json", function()
    local status, out = run("@monthly", "--from", "2026-01-01", "-n", "2")
    assert.equal(0, status)
    assert.equal("2026-02-01T00:00:00Z\n2026-03-01T00:00:00Z\n", out)
  end)

  it("refuses a wrong expression with the position of the fault", function()
    local status, _, errors = run("0 25 * * *")
    assert.equal(2, status)
    assert.matches("at character 3, in the hour", errors)
    status, _, errors = run("0 0 30 2 *")
    assert.equal(2, status)
    assert.matches("at character %d", errors)
  end)

  it("refuses an unknown zone, a wrong time and a wrong number", function()
    local wrong = { ["--timezone"] = "Europe/Atlantis", ["--from"] = "soon", ["-n"] = "0", ["--count"] = "10001" }
    for option, value in pairs(wrong) do
      local status, _, errors = run("* * * * *", option, value)
      assert.equal(2, status, option)
      assert.matches("naq: ", errors)
    end
  end)
end)

describe("core.cron_next()", function()
  it("answers INVALID for what cannot be parsed", function()
    for _, expression in ipairs({ "", "* * *", "a\0b", "* * * * * * *", "@never", ("* "):rep(1000) }) do
      local found, message, code = core.cron_next(expression)
      assert.is_nil(found)
      assert.is_string(message)
      assert.equal("INVALID", code)
    end
    assert.is_nil((core.cron_next("* * * * *", "../etc/passwd")))
    assert.is_nil((core.cron_next("* * * * *", "UTC\0x")))
  end)

  it("knows every zone of this system, with times that go forwards", function()
    local zones = 0
    for line in io.lines("/usr/share/zoneinfo/zone.tab") do
      local zone = line:match("^%u%u\t%S+\t(%S+)")
      if zone then
        zones = zones + 1
        for _, expression in ipairs({ "30 2 * * *", "*/20 * * * *", "0 0 L * *" }) do
          local found = assert(core.cron_next(expression, zone, 1795258125, 100))
          assert.equal(100, #found)
          for i = 2, #found do
            assert(found[i] > found[i - 1], zone)
          end
        end
      end
    end
    assert(zones > 300, zones)
  end)

  it("raises for what is no time or no count", function()
    for _, after in ipairs({ 0 / 0, 1 / 0, 1e18, -1e18 }) do
      assert.has_error(function() core.cron_next("* * * * *", "UTC", after) end)
    end
    assert.has_error(function() core.cron_next("* * * * *", "UTC", 0, 0) end)
  end)

  it("survives any bytes", function()
    math.randomseed(7)
    local alphabet = "0123456789*/-,LW#@? monfridaily\0\255"
    for _ = 1, 5000 do
      local bytes = {}
      for i = 1, math.random(0, 24) do
        local at = math.random(#alphabet)
        bytes[i] = alphabet:sub(at, at)
      end
      local found = core.cron_next(table.concat(bytes), "UTC", 0)
      assert(found == nil or #found <= 1)
    end
  end)
end)
