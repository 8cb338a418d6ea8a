-- Points in time as people write them. No server.

local support = require("spec.support")
local moment = require("naq.moment")

assert(support)

describe("moment.seconds()", function()
  it("reads epoch seconds as they are", function()
    assert.equal(1767225600, moment.seconds(1767225600))
    assert.equal(1767225600.25, moment.seconds("1767225600.25"))
    assert.equal(-5, moment.seconds("-5"))
  end)

  it("reads ISO 8601, and takes a time without zone as UTC", function()
    for text, seconds in pairs({
      ["2026-01-01"] = 1767225600,
      ["2026-01-01T00:00:00Z"] = 1767225600,
      ["2026-01-01T00:00"] = 1767225600,
      ["2026-01-01 00:00:00"] = 1767225600,
      ["2026-01-01T01:00:00+01:00"] = 1767225600,
      ["2025-12-31T18:30:00-0530"] = 1767225600,
      ["2026-01-01T02:00+02"] = 1767225600,
      ["2026-01-01T00:00:00.250Z"] = 1767225600.25,
      ["2000-02-29T12:00:00Z"] = 951825600,
      ["1969-12-31T23:59:59Z"] = -1,
      ["0001-01-01T00:00:00Z"] = -62135596800,
      ["9999-12-31T23:59:59Z"] = 253402300799,
    }) do
      assert.equal(seconds, moment.seconds(text), text)
    end
  end)

  it("gives an integer where there are integers", function()
    if not math.type then return end -- luacheck: ignore 143
    assert.equal("integer", math.type(moment.seconds("2026-01-01T01:00:00+01:00"))) -- luacheck: ignore 143
  end)

  it("refuses what is no time", function()
    for _, text in ipairs({
      "", "soon", "2026-13-01", "2026-02-29", "2026-04-31", "2026-1-1", "2026-01-01T", "2026-01-01T24:00",
      "2026-01-01T12:60", "2026-01-01T12:00:61", "2026-01-01T12:00:00+1:00", "2026-01-01T12:00:00 CET",
      "2026-01-01T12:00:00+24:00", "0x10", "1e9", "inf", "nan", "2026-01-01T12:00:0", "12:00",
    }) do
      local seconds, problem = moment.seconds(text)
      assert.is_nil(seconds, text)
      assert.matches("must be epoch seconds or an ISO 8601 time", problem)
    end
    for _, number in ipairs({ 1 / 0, -1 / 0, 0 / 0, 1e15 }) do
      assert.is_nil((moment.seconds(number)))
    end
  end)

  it("survives any bytes", function()
    math.randomseed(5)
    local alphabet = "0123456789-:TZ+., \0\255a"
    for _ = 1, 20000 do
      local bytes = {}
      for i = 1, math.random(0, 30) do
        local at = math.random(#alphabet)
        bytes[i] = alphabet:sub(at, at)
      end
      local seconds = moment.seconds(table.concat(bytes))
      assert(seconds == nil or (seconds > -3e11 and seconds < 3e11))
    end
  end)
end)

describe("moment.utc()", function()
  it("writes what moment.seconds() reads", function()
    assert.equal("2026-01-01T00:00:00Z", moment.utc(1767225600))
    assert.equal("2026-01-01T00:00:00.250Z", moment.utc(1767225600.25))
    assert.equal("2026-01-01T00:00:01Z", moment.utc(1767225600.9999))
    for _, seconds in ipairs({ 0, 951825600, 1767225600.125, 4102444800 }) do
      assert.equal(seconds, moment.seconds(moment.utc(seconds)))
    end
  end)
end)
