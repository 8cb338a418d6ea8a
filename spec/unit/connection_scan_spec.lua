-- What a scan finds in Lua sources: each case is a text and the line, pattern and answer expected of it.

local connection_scan = require("naq.connection_scan")

local HEAD = 'local naq = require("naq")\n'

-- "2 naq.connection per-call no": all uses of a text, those to be changed marked with a !.
local function found(text, bare)
  local uses = assert(connection_scan.scan(bare and text or HEAD .. text))
  local list = {}
  for i, use in ipairs(uses) do
    assert.equal(use.change, use.instead ~= nil)
    assert.is_true(#use.why > 10)
    list[i] = ("%d %s %s %s%s"):format(use.line, use.call, use.pattern, use.given_back, use.change and "!" or "")
  end
  return table.concat(list, "\n")
end

-- The body of a function, behind the head.
local function inside(body) return found("local function f(x)\n" .. body .. "\nend\nreturn f") end

local OPEN = "local conn, err = naq.connection()\n"

describe("connection_scan.scan()", function()
  describe("given scopes", function()
    it("knows those that naq lends and Lua's own", function()
      assert.equal("2 naq.with_connection scoped yes", found("naq.with_connection(c, function(conn) conn:info() end)"))
      assert.equal("2 naq.with_kv scoped yes", found("return naq.with_kv('b', function(kv) return kv:get('x') end)"))
      assert.equal("2 naq.uses_jetstream injected yes", found("local f = naq.uses_jetstream(function(js) end)"))
      assert.equal("3 naq.connection to-be-closed yes", inside("local conn <close> = assert(naq.connection())"))
      assert.equal("3 naq.with_jetstream scoped yes",
        inside("for i = 1, 9 do naq.with_jetstream(function(js) js:publish('a', x) end) end"))
    end)

    it("finds handles that are kept beyond them", function()
      local kept = "2 naq.with_connection kept-after-scope yes!"
      assert.equal(kept, found("local c = naq.with_connection(function(conn) return conn end)"))
      assert.equal(kept, found("local c; naq.with_connection(function(conn) c = conn end)"))
      assert.equal("2 naq.with_connection scoped yes",
        found("naq.with_connection(function(conn) local t = { conn } return use(t) end)"))
    end)
  end)

  describe("given the main chunk", function()
    it("takes what it opens for the program's", function()
      assert.equal("2 naq.connect module yes", found("local client = assert(naq.connect())\nclient:enqueue('x')"))
      assert.equal("2 naq.connect module yes", found("local mail = assert(naq.connect()):queue('mail')"))
      assert.equal("2 naq.connection module yes", found("local t = { conn = naq.connection() }"))
      assert.equal("2 naq.services module yes", found("services = naq.services()"))
      assert.equal("2 naq.connect default-client yes\n3 naq.enqueue default-client yes",
        found("assert(naq.connect())\nnaq.enqueue('x')"))
      assert.equal("2 naq.connect returned unknown", found("return naq.connect()"))
    end)

    it("asks for one connection in place of one each time round", function()
      local text = "for i = 1, 9 do\n local conn = naq.connection()\n conn:publish('a', i)\n conn:close()\nend"
      assert.equal("3 naq.connection per-iteration no!", found(text))
      text = "while true do\n local conn = naq.connection()\n pcall(work, conn)\n conn:close()\nend"
      assert.equal("3 naq.connection per-iteration yes!", found(text))
      assert.equal("2 naq.connect passed-on unknown", found("for i, v in each(naq.connect()) do end"))
    end)
  end)

  describe("given a function that closes by itself", function()
    it("wants nothing between that may raise", function()
      assert.equal("3 naq.connection per-call no!", inside(OPEN .. "conn:publish('a')\nconn:close()"))
      assert.equal("3 naq.connection per-call yes", inside(OPEN .. "conn:close()"))
      assert.equal("3 naq.connection per-call yes", inside(OPEN .. [[
        local ok, why = pcall(function() conn:publish("a") end)
        conn:close()
        if not ok then error(why, 0) end]]))
      assert.equal("3 naq.connection per-call yes", inside(OPEN .. "pcall(work, conn)\nconn.close(conn)"))
      assert.equal("3 naq.connection per-call no!", inside(OPEN .. "pcall(work, conn, x())\npcall(conn.close, conn)"))
    end)

    it("says where the error or the return is", function()
      local text = HEAD .. "function f()\n" .. OPEN .. "\nwork()\nconn:close()\nend"
      assert.equal("an error in line 5 passes the close() by", connection_scan.scan(text)[1].why)
      text = HEAD .. "function f(x)\n" .. OPEN .. "if x then\nreturn\nend\nconn:close()\nend"
      assert.equal("the return in line 5 leaves it open", connection_scan.scan(text)[1].why)
      text = HEAD .. "function f(x)\n" .. OPEN .. "return conn:rtt()\nend"
      assert.equal("nothing closes it", connection_scan.scan(text)[1].why)
    end)

    it("passes over the ways on which there is no connection", function()
      for _, guard in ipairs({
        "if not conn then return nil, err end",
        "if conn == nil then error(err) end",
        "if err then return log(err) end",
        "assert(conn, err)",
        "if not conn then log(err) os.exit(1) end",
        "if type(x) == 'nil' then os.exit(2) end",
      }) do
        assert.equal("3 naq.connection per-call yes", inside(OPEN .. guard .. "\nconn:close()"), guard)
      end
      assert.equal("3 naq.connection per-call yes",
        inside(OPEN .. "if conn then\n pcall(work, conn)\n conn:close()\nend"))
      assert.equal("3 naq.connection per-call yes",
        inside(OPEN .. "if not conn then log(err) else pcall(work, conn) conn:close() end"))
      assert.equal("3 naq.connection per-call yes",
        inside(OPEN .. "if type(x) == 'nil' then conn:close() return nil end conn:close()"))
    end)

    it("does not guess where it closes on some ways only", function()
      assert.equal("3 naq.connection per-call unknown", inside(OPEN .. "if x then conn:close() end"))
      assert.equal("4 naq.connection per-call unknown",
        inside("local conn\nif x then conn = naq.connection() end\nif x then conn:close() end"))
      assert.equal("4 naq.connection per-call yes",
        inside("local conn\nif x then conn = naq.connection() end\nconn:close()"))
      assert.equal("3 naq.connection captured unknown", inside(OPEN .. "pcall(function() work() conn:close() end)"))
    end)
  end)

  describe("given a function that does not close", function()
    it("says so, also where nothing has a name", function()
      assert.equal("3 naq.connect per-call no!", inside("local c = assert(naq.connect())\nreturn c:enqueue('x')"))
      assert.equal("3 naq.connect dropped no!", inside("return assert(naq.connect()):enqueue('x')"))
      assert.equal("3 naq.connection dropped no!",
        inside("local js = naq.connection():jetstream()\njs:publish('a', x)"))
      assert.equal("3 naq.connection dropped no!", inside("if not naq.connection() then return end"))
      assert.equal("3 naq.connection per-call no!", inside("local ok, conn = pcall(naq.connection)\nconn:info()"))
      assert.equal("3 naq.connection per-call no!", inside("local conn = (naq.connection() or x)\nprint(conn)"))
    end)

    it("leaves what goes elsewhere to whoever gets it", function()
      for body, pattern in pairs({
        ["return naq.connection()"] = "returned",
        [OPEN .. "return conn"] = "returned",
        [OPEN .. "return { conn = conn }"] = "stored",
        [OPEN .. "x.conn = conn"] = "stored",
        [OPEN .. "local again = conn"] = "stored",
        [OPEN .. "return function() return conn:rtt() end"] = "captured",
        [OPEN .. "serve(conn)"] = "passed-on",
        ["serve(naq.connection())"] = "passed-on",
        ["x.client = x.client or naq.connection()"] = "stored",
        ["kept = naq.connection()"] = "stored",
        ["return naq.connection():jetstream():kv('b')"] = "returned",
        ["local js = naq.connection():jetstream()\nx.js = js"] = "stored",
        [OPEN .. "local kv = conn:jetstream():kv('b')\nconn:jetstream()\nreturn conn:jetstream()"] = "returned",
      }) do
        assert.equal(("3 naq.connection %s unknown"):format(pattern), inside(body), body)
      end
      assert.equal("2 naq.connection passed-on unknown", found("retry(naq.connection, 3)"))
    end)
  end)

  describe("given other names", function()
    it("follows aliases of the module and of its functions", function()
      for _, text in ipairs({
        'local q = require("naq") q.connection()',
        "local q = require 'naq' local n = q n.connection()",
        'local connection = require("naq").connection connection()',
        'local a, open = 1, require("naq").connection open()',
        'require("naq").connection()',
        'require("naq")["connection"]()',
        'local ok, q = pcall(require, "naq") if ok then q.connection() end',
        'local q = assert(require("naq"), "no naq") q.connection()',
        'local q q = require("naq") q.connection()',
        'q = require("naq") q.connection()',
        'local load = require local q = load("naq") q.connection()',
        'local q = (require("naq")) do local r = q r.connection() end',
      }) do
        assert.equal("1 naq.connection module yes", found(text, true), text)
      end
    end)

    it("leaves alone what is something else under naq's name", function()
      for _, text in ipairs({
        'local naq = { connect = print } naq.connect()',
        'local naq = require("other") naq.connect()',
        HEAD .. "do local naq = {} naq.connect() end",
        HEAD .. "local socket = require('socket') socket.connect()",
        '-- require("naq").connect()\nlocal s = [[require("naq").connect()]]',
        HEAD .. "naq.job('x', function() end) naq.connection_stats()",
        "connect() x:connect() connection.connect()",
      }) do
        assert.equal("", found(text, true), text)
      end
    end)

    it("says unknown where only running tells", function()
      for _, text in ipairs({
        "function f(naq) naq.connect() end",
        "naq.connect()",
        "self.naq.connect()",
        "local naq = load_it() naq.connect()",
        'local naq = require("naq") naq = wrap(naq) naq.connect()',
        'local naq = fake or require("naq") naq.connect()',
      }) do
        assert.equal("1 naq.connect unresolved unknown", found(text, true), text)
      end
      assert.equal("2 naq.? unresolved unknown", found("naq[x]()"))
    end)
  end)

  it("says what is no Lua, and where", function()
    local uses, message, line = connection_scan.scan("x = 1\n'open")
    assert.is_nil(uses)
    assert.equal("unfinished string", message)
    assert.equal(2, line)
    assert.equal(3, select(3, connection_scan.scan("do\n\nuntil x")))
  end)

  it("advises by what was opened", function()
    local function instead(text) return connection_scan.scan(HEAD .. "function f() " .. text .. " end")[1].instead end
    assert.matches("naq.with_connection", instead("local c = naq.connection() c:info()"), 1, true)
    assert.matches("assert(naq.connect(options)) outside", instead("local c = naq.connect() c:queue('x')"), 1, true)
    assert.matches("naq.services(options)", instead("local s = naq.services() s:start()"), 1, true)
    assert.matches("once around the loop", instead("while x do local c = naq.connection() c:info() end"), 1, true)
  end)
end)
