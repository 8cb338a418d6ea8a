require("spec.support")
local core = require("naq.core")

local number_type = math.type -- luacheck: ignore (5.3 and later: 1 is not 1.0, integers have 64 bits)

--- The text of a value that must be writable, and the value of a text that must be readable.
-- luassert's assert returns three values, whatever it was given.
local function encode(value) return (assert(core.encode(value))) end
local function decode(text)
  local value, message = core.decode(text)
  assert(message == nil, message)
  return value
end

local function refused(message, value, err, code)
  assert.is_nil(value)
  assert.equal(message, err)
  assert.equal("SERIALIZATION", code)
end

local function comes_back(text) assert.equal(text, encode(decode(text))) end

describe("core.encode() and core.decode()", function()
  it("bring scalars back", function()
    for _, text in ipairs({ "null", "true", "false", "0", "-1", '""', '"a"', "[]", "{}", "0.1", "-2.5" }) do
      comes_back(text)
    end
    assert.equal(core.null, decode("null"))
    assert.equal("null", encode(nil))
  end)

  it("keep arrays and objects apart, also empty ones", function()
    comes_back('{"a":[]}')
    comes_back('{"a":{}}')
    comes_back("[[],{},[[]],[{}]]")
    assert.equal("{}", encode({}))
    assert.equal("[1,2,3]", encode({ 1, 2, 3 }))
  end)

  it("bring doubles back to the last bit", function()
    local values = { 0.1, 1 / 3, 0.1 + 0.2, 1e300, 5e-324, 1763697600.123456, 1.7976931348623157e308, -1e-7 }
    math.randomseed(42)
    for _ = 1, 2000 do values[#values + 1] = (math.random() - 0.5) * 10 ^ math.random(-300, 300) end
    local back = decode(encode(values))
    for i, value in ipairs(values) do assert.equal(value, back[i]) end
    assert.equal(-math.huge, 1 / decode(encode(-0.0)))
  end)

  it("bring strings back, whatever valid UTF-8 they hold", function()
    local all = {}
    for byte = 0, 127 do all[#all + 1] = string.char(byte) end
    local text = table.concat(all) .. "äöü € \240\159\152\128"
    for _, s in ipairs({ text, text:rep(50), ("x"):rep(100000), ("\n"):rep(5000) }) do
      assert.equal(s, decode(encode(s)))
      assert.is_true(decode(encode({ [s] = true }))[s])
    end
    assert.equal("\240\159\152\128", decode('"\\ud83d\\ude00"'))
    assert.equal('"\\u0000\\u001f\\n/"', encode("\0\31\n/"))
  end)

  it("let the last of several members with one key count", function()
    assert.equal('{"a":null}', encode(decode('{"a":1,"a":{},"a":null}')))
  end)

  it("take and give 128 levels", function()
    comes_back(("["):rep(128) .. ("]"):rep(128))
  end)

  it("bring large values back", function()
    local list = {}
    for i = 1, 5000 do list[i] = { id = i, tags = { "a", "b" }, name = "n" .. i } end
    local text = encode(list)
    local back = decode(text)
    assert.equal(5000, #back)
    assert.same({ id = 4711, tags = { "a", "b" }, name = "n4711" }, back[4711])
  end)

  it("agree with lua-cjson on what both can do", function()
    local cjson = require("cjson")
    local value = { a = { 1, 2, "x", true, false }, b = { c = "d\n\"é\"" }, n = 1.5, e = cjson.null }
    assert.same(cjson.decode(cjson.encode(value)), cjson.decode(encode(value)))
    assert.same(cjson.decode(encode(value)), decode(cjson.encode(value)))
    assert.equal(cjson.null, core.null)
  end)
end)

describe("core.encode()", function()
  it("runs no metamethods and does not change what it is given", function()
    local function fail() error("a metamethod ran") end
    local value = setmetatable({ 1, 2 }, { __index = fail, __len = fail, __pairs = fail, __tostring = fail })
    assert.equal("[1,2]", encode(value))
    local ordered = {}
    ordered[3], ordered[2], ordered[1] = "c", "b", "a"
    assert.equal('["a","b","c"]', encode(ordered))
  end)

  it("names the place of what it refuses", function()
    local nan = 0 / 0
    local function check(message, value) refused(message, core.encode(value)) end
    check("value.items[3].price: nan cannot be written as JSON", { items = { 1, 2, { price = nan } } })
    check("value[1]: inf cannot be written as JSON", { math.huge })
    check("value[1]: -inf cannot be written as JSON", { -math.huge })
    check("value: function cannot be written as JSON", print)
    check("value.f: userdata cannot be written as JSON", { f = io.stdout })
    check("value.t: thread cannot be written as JSON", { t = coroutine.create(function() end) })
    check("value.s: string is not UTF-8 (byte 3)", { s = "ab\255" })
    check('value["a?"]: the key is not UTF-8', { ["a\255"] = 1 })
    check('value["a b"]: nan cannot be written as JSON', { ["a b"] = nan })
  end)

  it("refuses tables that are neither array nor object", function()
    local function check(message, value) refused(message, core.encode(value)) end
    check("value: number and string keys in one table", { 1, 2, x = 3 })
    local holes = "value: array with holes (%d of %d elements); the keys of an object are strings"
    check(holes:format(2, 3), { [1] = 1, [3] = 3 })
    check(holes:format(1, 1000000), { [1e6] = 1 })
    check("value: the key 1.5 is not a string", { [1.5] = 1 })
    check("value: the key 0 is not a string", { [0] = 1 })
    check("value: the key -1 is not a string", { [-1] = 1 })
    check("value: a key is a boolean, not a string", { [true] = 1 })
    local marked = core.array({})
    marked.x = 1
    check("value: marked as an array, but has other keys than 1 to n", marked)
  end)

  it("refuses what is too deep or contains itself", function()
    local deep = {}
    for _ = 1, 128 do deep = { deep } end
    local _, message, code = core.encode(deep)
    assert.truthy(message:find("nested deeper than 128 levels or contains itself", 1, true))
    assert.equal("SERIALIZATION", code)
    local loop = { name = "loop" }
    loop.child = { parent = loop }
    _, message = core.encode(loop)
    assert.truthy(message:find("^value%.child%.parent%.child.*contains itself$"))
  end)

  it("works again after a refusal", function()
    for _ = 1, 100 do
      assert.is_nil(core.encode({ 1, 2, { print } }))
      assert.equal("[1]", encode({ 1 }))
    end
  end)

  it("stands being called by a finalizer while it works", function()
    local ran = 0
    local function garbage()
      local function finalize()
        ran = ran + 1
        encode({ ("y"):rep(300) })
      end
      if newproxy then -- luacheck: ignore
        getmetatable(newproxy(true)).__gc = finalize -- luacheck: ignore
      else
        setmetatable({}, { __gc = finalize })
      end
    end
    local expected = '["' .. ("x"):rep(200) .. '"]'
    for _ = 1, 20000 do
      garbage()
      if encode({ ("x"):rep(200) }) ~= expected then error("another value's text") end
    end
    assert.is_true(ran > 0)
  end)
end)

describe("core.decode()", function()
  it("says where a text stops being JSON", function()
    local function check(message, text) refused(message, core.decode(text)) end
    check("invalid JSON at byte 1: value expected", "")
    check("invalid JSON at byte 4: value expected", "[1,]")
    check("invalid JSON at byte 3: nothing more expected", "1 2")
    check("invalid JSON at byte 6: ':' expected", '{"a" 1}')
    check("invalid JSON at byte 2: not UTF-8", '"\255"')
    check("invalid JSON at byte 2: half of a surrogate pair", '"\\ud800"')
    check("invalid JSON at byte 129: nested deeper than 128 levels", ("["):rep(1000000))
  end)

  it("refuses numbers that it would have to change", function()
    refused("number 1e999 at byte 2: too large for a double", core.decode("[1e999]"))
    refused("number 9223372036854775808 at byte 1: does not fit 64 bits", core.decode("9223372036854775808"))
  end)

  it("raises on what is no text", function()
    assert.has_error(function() core.decode(nil) end)
    assert.has_error(function() core.decode({}) end)
  end)

  if number_type then
    it("keeps 64-bit integers exact, and 1 and 1.0 apart", function()
      comes_back("[9223372036854775807,-9223372036854775808,9007199254740993,1,1.0,-0.0,1e+300]")
      assert.equal("integer", number_type(decode("1")))
      assert.equal("float", number_type(decode("1.0")))
      assert.equal("float", number_type(decode("1e2")))
      assert.equal("float", number_type(decode(encode(2 ^ 60))))
    end)
  else
    it("keeps integers exact up to 2^53 and refuses others", function()
      comes_back("9007199254740992")
      assert.equal("3", encode(3.0))
      assert.equal(2 ^ 60, decode(encode(2 ^ 60)))
      refused("number 9007199254740993 at byte 1: this Lua's numbers are exact up to 2^53 only",
        core.decode("9007199254740993"))
    end)
  end
end)

describe("core.array()", function()
  it("marks a table, so that an empty one is []", function()
    local t = {}
    assert.equal(t, core.array(t))
    assert.equal("[]", encode(t))
    assert.equal("[[]]", encode({ core.array() }))
    assert.equal("[1]", encode(core.array({ 1 })))
    assert.equal(t, core.array(t))
  end)

  it("does not take a table's own metatable away", function()
    assert.has_error(function() core.array(setmetatable({}, {})) end)
    assert.has_error(function() core.array("a") end)
  end)

  it("is matched by lua-cjson's marks where its build has them", function()
    local cjson = require("cjson") -- OpenResty's has them, Debian's has not
    local before = { cjson.array_mt, cjson.empty_array_mt }
    cjson.array_mt = cjson.array_mt or {}
    cjson.empty_array_mt = cjson.empty_array_mt or {}
    assert.equal("[]", encode(setmetatable({}, cjson.array_mt)))
    assert.equal("[[]]", encode({ setmetatable({}, cjson.empty_array_mt) }))
    assert.equal('{"a":1}', encode(setmetatable({ a = 1 }, cjson.empty_array_mt)))
    assert.equal("{}", encode(setmetatable({}, {})))
    cjson.array_mt, cjson.empty_array_mt = before[1], before[2]
  end)
end)

describe("core.payload()", function()
  it("is one JSON object with the name, the arguments, the time and the fields", function()
    local payload = decode(core.payload("jobs.send_mail", { to = "ada" }, { max_retries = 5 }))
    assert.is_true(math.abs(payload.enqueued_at - core.now()) < 5)
    payload.enqueued_at = nil
    assert.same({ v = 1, job = "jobs.send_mail", args = { to = "ada" }, max_retries = 5 }, payload)
  end)

  it("leaves out arguments that are nil, but not false or null", function()
    assert.is_nil(decode(core.payload("a")).args)
    assert.equal(false, decode(core.payload("a", false)).args)
    assert.equal(core.null, decode(core.payload("a", core.null)).args)
  end)

  it("names what is wrong with the arguments or a field", function()
    refused("args.f: function cannot be written as JSON", core.payload("a", { f = print }))
    refused("meta.f: function cannot be written as JSON", core.payload("a", nil, { meta = { f = print } }))
    local _, message, code = core.payload("a", nil, { job = "b" })
    assert.equal("payload field job is not the caller's to give", message)
    assert.equal("INVALID", code)
  end)

  it("refuses names that cannot be a job's", function()
    for _, name in ipairs({ "", 'a"b', "a\\b", "a\nb", "\255", ("n"):rep(129) }) do
      local payload, _, code = core.payload(name)
      assert.is_nil(payload)
      assert.equal("INVALID", code)
    end
    assert.truthy(core.payload(("n"):rep(128)))
    assert.has_error(function() core.payload(12) end)
    assert.has_error(function() core.payload("a", nil, "fields") end)
  end)

  it("never makes a payload that is too deep to be read", function()
    local deep = {}
    for _ = 1, 125 do deep = { deep } end
    assert.truthy(core.decode('{"payload":' .. core.payload("a", deep) .. "}"))
    assert.is_nil(core.payload("a", { deep }))
  end)
end)
