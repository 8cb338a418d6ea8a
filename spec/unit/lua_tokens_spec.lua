-- The lexer and the tree of Lua sources: what any Lua takes, they take; Lua itself is the judge.

local lua_tokens = require("naq.lua_tokens")
local lua_tree = require("naq.lua_tree")
local support = require("spec.support")

local compile = loadstring or load -- luacheck: ignore 113

-- Kinds and values, the end left out: "name x, symbol =, number 1".
local function shown(text)
  local found = assert(lua_tokens.read(text))
  local list = {}
  for i = 1, found.n - 1 do
    list[i] = found.kinds[i] .. " " .. found.values[i]
  end
  return table.concat(list, ", ")
end

local function refused(text)
  local found, message, line = lua_tokens.read(text)
  assert.is_nil(found)
  return ("%d: %s"):format(line, message)
end

describe("lua_tokens.read()", function()
  it("tells names, keywords, numbers and symbols apart", function()
    assert.equal("keyword local, name x_1, symbol =, number 1", shown("local x_1 = 1"))
    assert.equal("name a, symbol ..., name b, symbol .., name c, symbol ., name d", shown("a...b..c.d"))
    assert.equal("name a, symbol //, name b, symbol ~=, name c, symbol >>, number 2", shown("a//b~=c>>2"))
    assert.equal("symbol ::, name top, symbol ::, name goto, name top", shown("::top:: goto top"))
    assert.equal("keyword local, name c, symbol <, name close, symbol >", shown("local c <close>"))
  end)

  it("reads the numbers of every Lua", function()
    local numbers = "3 3. .5 3.25e-2 0xff 0xA.8p1 0x.1p-3 1e+10 7LL 7ull 0x10ULL 2i 0b101 0xep1"
    for number in numbers:gmatch("%S+") do
      assert.equal("number " .. number, shown(number))
    end
    assert.equal("number 0xe, symbol -, number 1", shown("0xe-1"))
    for _, wrong in ipairs({ "3..2", "0x", "1e", "3x", "0xg", "1.2.3" }) do
      assert.equal("1: malformed number " .. wrong, refused(wrong))
    end
  end)

  it("decodes strings as Lua does", function()
    assert.equal("string a\nb\tAz\1Z\0016", shown([["a\nb\tA\z
        z\1\x5a\0016"]]))
    assert.equal("string a\nb", shown("'a\\\nb'"))
    assert.equal("string it's, string \"", shown([["it's" '"']]))
    assert.equal("string q", shown([["\q"]])) -- 5.1
    assert.equal("string \226\130\172\240\144\128\128", shown([["\u{20AC}\u{10000}"]]))
    assert.equal("string $\195\191", shown([["\u{24}\u{ff}"]]))
  end)

  it("reads long strings and comments of every level", function()
    assert.equal("string a]b]]c", shown("[==[a]b]]c]==]"))
    assert.equal("string line\n", shown("[[\nline\n]]"))
    assert.equal("name a, name b", shown("a --[[ ]=] [[ \n]] b"))
    assert.equal("name a, name b", shown("a --[==[ ]] ]=] ]==] b --[=[ ]=]"))
    assert.equal("name a", shown("a --[=not long"))
    assert.equal("name a, symbol [, name b, symbol [, number 1, symbol ], symbol ]", shown("a[b[1]]"))
    assert.equal("name x", shown("--"  .. "\nx"))
  end)

  it("counts lines through strings, comments and every line end", function()
    local found = assert(lua_tokens.read("#!/usr/bin/lua\na --[[\n\n]] b\r\n[[\n\n]] '\\\n' c\r\rd"))
    assert.same({ 2, 4, 5, 7, 8, 10, 10 }, found.lines)
  end)

  it("takes a byte order mark and a first line for the shell", function()
    assert.equal("name x", shown("\239\187\191#!/usr/bin/env lua\nx"))
  end)

  it("says what no Lua takes, with its line", function()
    assert.equal("2: unfinished string", refused("x\n'abc\nd'"))
    assert.equal("1: unfinished string", refused("'abc\\"))
    assert.equal("2: unfinished long string", refused("\n[==[ ]]"))
    assert.equal("1: unfinished long comment", refused("--[[ \n\n"))
    assert.equal("1: decimal escape too large: \\256", refused([["\256"]]))
    assert.equal("3: unexpected character @", refused("x\n\n@"))
    assert.equal("1: unexpected character \\0", refused("x \0"))
    assert.equal("1: compiled Lua, not source", refused("\27Lua\84"))
  end)
end)

describe("lua_tree.read()", function()
  local function takes(text) return assert(lua_tree.read(text)) end

  it("takes the syntax of every Lua from 5.1 to 5.4", function()
    takes("goto = 1; goto[1] = goto; goto(goto)") -- 5.1: a name
    takes("::a:: do goto a end; break")
    takes("local f <const>, c <close> = 1 // 2 & ~3 | 4 << 5 >> 6 ~ 7, nil;;;")
    takes("function a.b.c:d(x, ...) return ... end local function e() return end")
    takes('f"x" f{1; 2, [3] = 4, five = 5,} f[[y]].z:w"v"{} (f)()')
    takes("for i = 1, 2, 3 do end for k, v in pairs(t) do end while x do end repeat local y until y")
    takes("if a then elseif b then else end return - - not # x ^ -2 .. 'z'")
  end)

  it("refuses what is none, with the line", function()
    for text, expected in pairs({
      ["x ="] = "1: expression expected near the end",
      ["\nlocal 1"] = "2: name expected near '1'",
      ["f() = 1"] = "1: cannot assign near '1'",
      ["a.b"] = "1: syntax error near the end",
      ["do\n\nend end"] = "3: statement expected near 'end'",
      ["for i do end"] = "1: 'in' expected near 'do'",
    }) do
      local tree, message, line = lua_tree.read(text)
      assert.is_nil(tree, text)
      assert.equal(expected, ("%d: %s"):format(line, message))
    end
  end)

  it("ends with a sentence however deep the text is nested", function()
    for _, one in ipairs({ "(", "{", "f(", "do ", "x=function() ", "- ", "not " }) do
      local tree, message = lua_tree.read("return " .. one:rep(100000))
      assert.is_nil(tree)
      assert.is_string(message)
    end
    assert(lua_tree.read("return " .. ("a .. "):rep(50000) .. "a"))
    assert(lua_tree.read("f" .. ("()"):rep(50000)))
  end)

  local function sources()
    local list = {}
    local roots = "'" .. support.root .. "' /usr/share/lua /usr/share/luajit* /usr/local/share/lua"
    local find = "find %s -name build -prune -o -type f -name '*.lua' -print 2>/dev/null"
    local pipe = assert(io.popen(find:format(roots)))
    for path in pipe:lines() do
      local file = io.open(path, "rb")
      if file then
        list[#list + 1] = { path = path, text = file:read("*a") }
        file:close()
      end
    end
    pipe:close()
    return list
  end

  it("takes every Lua file of this machine that Lua takes", function()
    local read, all = 0, sources()
    for _, source in ipairs(all) do
      local tree, message, line = lua_tree.read(source.text)
      if tree then
        read = read + 1
      else
        -- A file for another Lua may be refused by this one; what this one takes has to be taken.
        local text = source.text:gsub("^#[^\n]*", "")
        assert(not compile(text, "=" .. source.path), ("%s:%s: %s"):format(source.path, line, message))
      end
    end
    assert.is_true(read > 100 and read > #all * 0.99, ("%d of %d"):format(read, #all))
  end)

  it("takes what Lua takes of sources that were damaged, and never raises", function()
    local seed = 4711
    local function random(n)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % n + 1
    end
    local bits = { "[[", "]]", "[=[", "]=]", "--", "--[[", "'", '"', "\\", "\\z", "\n", "0x", ".", "..", "1e",
      "<", "::", "goto ", "end ", "function ", "(", ")", "{", "}", "local ", "~", "//", "\\x4", "\\u{1}", "," }
    local taken, all = 0, sources()
    for round = 1, 3000 do
      local text = all[random(#all)].text
      local from = random(#text + 1)
      text = text:sub(from, from + random(400))
      local at = random(#text + 1)
      text = text:sub(1, at - 1) .. bits[random(#bits)] .. text:sub(at + random(3) - 1)
      local tree, message = lua_tree.read(text)
      -- Lua's own limits (a goto without its label, a constant assigned) are no business of a reader, so
      -- the other way round is not asked.
      if compile(text:gsub("^#[^\n]*", ""), "=damaged") then
        taken = taken + 1
        assert(tree, ("round %d: %s in\n%s"):format(round, tostring(message), text))
      end
    end
    assert.is_true(taken > 20, tostring(taken))
  end)
end)
