-- lua_tokens.lua -- Lua source text as tokens, for programs that read programs.
--
-- One lexer for Lua 5.1 to 5.4 and LuaJIT: what any of them takes is taken, what none of them takes is
-- an error with its line. Pure: no files, no network. Runs on every Lua that it reads.
local tokens = {}

---@alias naq.TokenKind "name"|"keyword"|"string"|"number"|"symbol"|"end"

---@class naq.Tokens
---@field kinds naq.TokenKind[]
---@field values string[]  a string's decoded bytes, everything else as written
---@field lines integer[]
---@field n integer        the last one is the "end"

-- `goto` is a plain name in 5.1: whoever reads the tokens tells by what stands behind it.
local KEYWORDS = {}
for word in ("and break do else elseif end false for function if in local nil not or repeat return "
  .. "then true until while"):gmatch("%a+") do
  KEYWORDS[word] = true
end

-- The longest first.
local SYMBOLS = {
  { "..." },
  { "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>" },
  {
    "+", "-", "*", "/", "%", "^", "#", "&", "~", "|", "<", ">", "=", "(", ")", "{", "}", "[", "]", ";",
    ":", ",", ".",
  },
}
local IS_SYMBOL = {}
for _, list in ipairs(SYMBOLS) do
  for _, symbol in ipairs(list) do
    IS_SYMBOL[symbol] = true
  end
end

local ESCAPES = {
  a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v",
}

-- LuaJIT's suffixes behind what all of them write.
local NUMBERS = {
  "^0[xX]%x+%.?%x*$", "^0[xX]%.%x+$", "^0[xX]%x+%.?%x*[pP][+-]?%d+$", "^0[xX]%.%x+[pP][+-]?%d+$",
  "^0[bB][01]+$", "^%d+%.?%d*$", "^%.%d+$", "^%d+%.?%d*[eE][+-]?%d+$", "^%.%d+[eE][+-]?%d+$",
}

local function is_number(text)
  local whole = text:gsub("[uU]?[lL][lL]$", ""):gsub("[iI]$", "")
  for _, pattern in ipairs(NUMBERS) do
    if whole:find(pattern) then return true end
  end
  return false
end

---@class naq.TokenReader
---@field text string
---@field at integer
---@field line integer
local Reader = {}
Reader.__index = Reader

-- Raised inside, caught by tokens.read: no error of ours and no string, so it is told from a bug.
function Reader:fail(message, line) error({ lexical = message, line = line or self.line }, 0) end

local function newlines(text)
  local _, n = text:gsub("\n", "")
  return n
end

--- "[[", "[==[" at a position: what is inside, and where it ends; nil when no such bracket is there.
function Reader:long(at, what)
  local level, first = self.text:match("^%[(=*)%[()", at)
  if not level then return nil end
  if self.text:sub(first, first) == "\n" then
    first = first + 1
    self.line = self.line + 1
  end
  local from, to = self.text:find("]" .. level .. "]", first, true)
  if not from then self:fail("unfinished long " .. what) end
  local inside = self.text:sub(first, from - 1)
  self.line = self.line + newlines(inside)
  return inside, to + 1
end

-- Whitespace and comments; true at the end of the text.
function Reader:skip()
  local text = self.text
  while true do
    local from, to = text:find("^[ \t\v\f]+", self.at)
    if from then self.at = to + 1 end
    local char = text:sub(self.at, self.at)
    if char == "\n" then
      self.line = self.line + 1
      self.at = self.at + 1
    elseif char == "-" and text:sub(self.at + 1, self.at + 1) == "-" then
      local _, after = self:long(self.at + 2, "comment")
      self.at = after or (text:find("\n", self.at, true) or #text + 1)
    else
      return self.at > #text
    end
  end
end

local function utf8_bytes(code)
  if code < 0x80 then return string.char(code) end
  local tail, first = "", 0x3f
  repeat
    tail = string.char(0x80 + code % 64) .. tail
    code, first = math.floor(code / 64), math.floor(first / 2)
  until code <= first
  return string.char(254 - 2 * first + code) .. tail
end

-- One escape of a short string: its bytes, and where the text goes on.
function Reader:escape(at)
  local text = self.text
  local char = text:sub(at, at)
  if char == "\n" then
    self.line = self.line + 1
    return "\n", at + 1
  elseif char == "z" then
    local space = text:match("^%s*", at + 1)
    self.line = self.line + newlines(space)
    return "", at + 1 + #space
  elseif text:find("^%d", at) then
    local digits = text:match("^%d%d?%d?", at)
    if tonumber(digits) > 255 then self:fail("decimal escape too large: \\" .. digits) end
    return string.char(tonumber(digits)), at + #digits
  elseif text:find("^x%x%x", at) then
    return string.char(tonumber(text:sub(at + 1, at + 2), 16)), at + 3
  elseif text:find("^u{%x+}", at) then
    local digits = text:match("^%x+", at + 2)
    local code = #digits <= 16 and tonumber(digits, 16) or math.huge
    if code >= 2 ^ 31 then self:fail("UTF-8 value too large: \\u{" .. digits .. "}") end
    return utf8_bytes(code), at + #digits + 3
  end
  return ESCAPES[char] or char, at + 1 -- 5.1 takes any other character as it is
end

--- A string in quotes; self.at stands on the first.
function Reader:short()
  local text, quote = self.text, self.text:sub(self.at, self.at)
  local plain = quote == '"' and '^[^"\\\n]*' or "^[^'\\\n]*"
  local parts, at, opened = {}, self.at + 1, self.line
  while true do
    local _, last = text:find(plain, at)
    parts[#parts + 1] = text:sub(at, last)
    at = last + 1
    local char = text:sub(at, at)
    if char == quote then
      return table.concat(parts), at + 1
    elseif char == "\\" and at < #text then
      parts[#parts + 1], at = self:escape(at + 1)
    else
      self:fail("unfinished string", opened)
    end
  end
end

-- As Lua reads it: everything that could belong to a number, judged afterwards.
function Reader:number()
  local text, at = self.text, self.at
  local exponent = text:find("^0[xX]", at) and "^[pP][+-]?" or "^[eE][+-]?"
  repeat
    local _, last = text:find(exponent, at)
    if not last then
      _, last = text:find("^[%w_.]", at)
    end
    at = last and last + 1 or at
  until not last
  local number = text:sub(self.at, at - 1)
  if not is_number(number) then self:fail("malformed number " .. number) end
  return number, at
end

--- The next token: its kind and value; self.at is behind it, self.line on its last line.
---@return naq.TokenKind kind, string value
function Reader:next()
  local text, at = self.text, self.at
  local name = text:match("^[%a_\128-\255][%w_\128-\255]*", at)
  if name then
    self.at = at + #name
    return KEYWORDS[name] and "keyword" or "name", name
  end
  local value
  if text:find("^%.?%d", at) then
    value, self.at = self:number()
    return "number", value
  elseif text:find("^[\"']", at) then
    value, self.at = self:short()
    return "string", value
  end
  local long, after = self:long(at, "string")
  if long then
    self.at = after
    return "string", long
  end
  for length = 3, 1, -1 do
    local symbol = text:sub(at, at + length - 1)
    if IS_SYMBOL[symbol] then
      self.at = at + #symbol
      return "symbol", symbol
    end
  end
  local char = text:sub(at, at)
  if not char:find("^[%w%p]") then char = ("\\%d"):format(char:byte()) end
  return self:fail(("unexpected character %s"):format(char))
end

local function read(reader)
  local kinds, values, lines, n = {}, {}, {}, 0
  while not reader:skip() do
    n = n + 1
    lines[n] = reader.line
    kinds[n], values[n] = reader:next()
  end
  n = n + 1
  kinds[n], values[n], lines[n] = "end", "", reader.line
  return { kinds = kinds, values = values, lines = lines, n = n }
end

--- The tokens of a whole file. A first line that begins with # is no Lua; neither are a byte order mark
--- and comments.
---@param text string
---@return naq.Tokens? tokens, string? message, integer? line
function tokens.read(text)
  if text:sub(1, 4) == "\27Lua" or text:sub(1, 3) == "\27LJ" then
    return nil, "compiled Lua, not source", 1
  end
  if text:find("\r", 1, true) then
    text = text:gsub("\r\n", "\n"):gsub("\n\r", "\n"):gsub("\r", "\n")
  end
  text = text:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")
  local reader = setmetatable({ text = text, at = 1, line = 1 }, Reader)
  local ok, result = pcall(read, reader)
  if ok then return result end
  if type(result) ~= "table" or not result.lexical then error(result, 0) end
  return nil, result.lexical, result.line
end

return tokens
