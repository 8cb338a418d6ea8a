local schema = require("naq.jetstream_schema")

describe("jetstream_schema.encode()", function()
  local function stream(config) return schema.encode(schema.STREAM, config) end

  it("writes durations as nanoseconds, exactly, and integers without a fraction", function()
    assert.equal('{"max_age":34560000000000000}', stream({ max_age = 86400 * 400 }))
    assert.equal('{"duplicate_window":1500000000,"max_msgs":5}', stream({ duplicate_window = 1.5, max_msgs = 5.0 }))
    assert.equal('{"max_msgs":-1}', stream({ max_msgs = -1 }))
    assert.equal('{"backoff":[500000000,2000000000]}', schema.encode(schema.CONSUMER, { backoff = { 0.5, 2 } }))
  end)

  it("writes times as text, and empty lists as lists", function()
    local config = { opt_start_time = 1767225600.25 }
    assert.equal('{"opt_start_time":"2026-01-01T00:00:00.250000Z"}', schema.encode(schema.CONSUMER, config))
    assert.equal('{"subjects":[]}', stream({ subjects = {} }))
  end)

  it("passes on what it does not know, as an update of a newer server's stream needs", function()
    assert.equal('{"max_age":1000000000,"news":{"a":[1]}}', stream({ news = { a = { 1 } }, max_age = 1 }))
  end)
end)

describe("jetstream_schema.time()", function()
  it("reads RFC 3339", function()
    assert.equal(1767225600, schema.time("2026-01-01T00:00:00Z"))
    assert.equal(1767225600.5, schema.time("2026-01-01T00:00:00.5Z"))
    assert.equal(1767225600, schema.time("2026-01-01T02:00:00+02:00"))
    assert.equal(951782400, schema.time("2000-02-29T00:00:00Z"))
    assert.equal(0, schema.time("1970-01-01T00:00:00Z"))
  end)

  it("has nothing for what is no time, or Go's zero", function()
    for _, text in ipairs({ "", "soon", "0001-01-01T00:00:00Z" }) do
      assert.is_nil(schema.time(text))
    end
    assert.is_nil(schema.time(nil))
    assert.is_nil(schema.time(5))
  end)
end)

describe("jetstream_schema.older()", function()
  it("compares versions by number, and says no where it does not know", function()
    assert.is_true(schema.older("2.9.10", "2.9.12"))
    assert.is_true(schema.older("2.9.10", "2.10.0"))
    assert.is_false(schema.older("2.10.0", "2.9.12"))
    assert.is_false(schema.older("2.9.12", "2.9.12"))
    assert.is_true(schema.older("v2.9.1-beta", "2.9.12"))
    assert.is_false(schema.older("", "2.9.12"))
    assert.is_false(schema.older(nil, "2.9.12"))
  end)
end)

describe("jetstream_schema.differences()", function()
  it("compares what was asked for, lists in any order, absent as empty", function()
    local have = { subjects = { "a", "b" }, max_age = 60, storage = "file", placement = { cluster = "c" } }
    local function differences(wanted) return schema.differences(schema.STREAM, wanted, have) end
    assert.same({}, differences({ subjects = { "b", "a" }, storage = "file", no_ack = false, max_msgs = 0 }))
    assert.same({}, differences({ placement = { cluster = "c" } }))
    assert.same(
      { "max_age: is 60, wanted 5", "max_msgs: is not set, wanted 7" },
      differences({ max_age = 5, max_msgs = 7 })
    )
    assert.same({ "subjects: is [a,b], wanted [a]" }, differences({ subjects = { "a" } }))
    assert.equal(1, #differences({ placement = { cluster = "d" } }))
  end)
end)
