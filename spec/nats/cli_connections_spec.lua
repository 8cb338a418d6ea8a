-- `naq connections scan`: files and directories in, lines and exit codes out. What it finds in a text is
-- spec/unit/connection_scan_spec.lua's.

local core = require("naq.core")
local support = require("spec.support")
local naq = support.naq

local GOOD = 'local naq = require("naq")\nnaq.with_connection(function(conn) conn:info() end)\n'
local BAD = 'local naq = require("naq")\nfunction f()\n  local conn = naq.connection()\n  conn:info()\nend\n'

local function decoded(out)
  local list = {}
  for line in out:gmatch("[^\n]+") do
    list[#list + 1] = assert(core.decode(line))
  end
  return list
end

describe("naq connections scan", function()
  local dir

  local function write(name, text)
    local file = assert(io.open(dir .. "/" .. name, "wb"))
    file:write(text)
    file:close()
    return dir .. "/" .. name
  end

  before_each(function()
    dir = assert(core.mkdtemp("naq-spec-scan"))
    os.execute("mkdir -p '" .. dir .. "/src/deep'")
  end)

  after_each(function() core.rmtree(dir) end)

  it("finds nothing to change in this tree's own Lua", function()
    local root = support.root
    local status, out = naq("connections", "scan", root .. "/lua", root .. "/examples", root .. "/bench",
      root .. "/bin/naq")
    assert.equal(0, status, out)
    assert.matches(": nothing to change\n$", out)
  end)

  it("looks below directories and at files of any name", function()
    write("src/deep/a.lua", GOOD)
    write("src/notes.txt", "not Lua")
    local program = write("program", "#!/usr/bin/env lua\n" .. GOOD)
    local status, out = naq("connections", "scan", dir .. "/src/", program, "--json")
    assert.equal(0, status)
    local uses = decoded(out)
    assert.equal(2, #uses)
    assert.same({
      file = dir .. "/src/deep/a.lua",
      line = 2,
      call = "naq.with_connection",
      pattern = "scoped",
      given_back = "yes",
      change = false,
      why = "given back when the function ends, on an error too",
    }, uses[1])
    assert.equal(program, uses[2].file)
    assert.equal(3, uses[2].line)
  end)

  it("ends with 1 when something should be changed, and says what", function()
    local path = write("bad.lua", BAD)
    local status, out, errors = naq("connections", "scan", path)
    assert.equal(1, status)
    assert.equal("", errors)
    assert.truthy(out:find(path .. ":3  naq.connection  per-call, given back: no\n", 1, true), out)
    assert.truthy(out:find("   nothing closes it\n   instead: naq.with_connection(", 1, true), out)
    assert.matches("\n1 use in 1 file: 1 to change\n$", out)
    status, out = naq("--json", "connections", "scan", path)
    assert.equal(1, status)
    assert.is_true(decoded(out)[1].change)
  end)

  it("reports a file that is no Lua and goes on with the others", function()
    write("src/a.lua", "x = 'open\n")
    write("src/b.lua", GOOD)
    write("src/c.lua", "\n\nend\n")
    local status, out = naq("connections", "scan", "--json", dir .. "/src")
    assert.equal(1, status)
    local uses = decoded(out)
    assert.equal(3, #uses)
    assert.same({ "unreadable", 1, "unknown", true },
      { uses[1].pattern, uses[1].line, uses[1].given_back, uses[1].change })
    assert.matches("unfinished string", uses[1].why)
    assert.equal("scoped", uses[2].pattern)
    assert.same({ "unreadable", 3 }, { uses[3].pattern, uses[3].line })
  end)

  it("says what it cannot read, and what it was not given", function()
    local status, out, errors = naq("connections", "scan", dir .. "/none.lua")
    assert.equal(1, status)
    assert.equal("", out)
    assert.matches("cannot read .*none.lua: No such file", errors)
    assert.equal(2, (naq("connections", "scan")))
    assert.equal(2, (naq("connections")))
    assert.equal(2, (naq("connections", "scna", dir)))
  end)
end)
