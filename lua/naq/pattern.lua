-- pattern.lua -- is a text a Lua pattern? string.find() complains only about the part that it gets to, so
-- a broken pattern may go unnoticed until the one message comes that matches its beginning. Pure.
local pattern = {}

local MOST_CAPTURES = 32 -- LUA_MAXCAPTURES

-- Behind a set that begins at `at` ("[" itself); nil when its "]" is missing. As in lstrlib.c the first
-- character is one of the set even if it is "]", and % takes the next one along.
local function set_end(text, at)
  at = at + 1
  if text:sub(at, at) == "^" then at = at + 1 end
  repeat
    if at > #text then return nil end
    local escape = text:sub(at, at) == "%"
    at = at + 1
    if escape and at <= #text then at = at + 1 end
  until text:sub(at, at) == "]"
  return at + 1
end

local MISSING_BRACKET = "its '[' has no ']'"

-- What stands behind a "%" at `at`: where to go on, or nil and the problem.
local function escape_end(text, at, captures)
  local kind = text:sub(at + 1, at + 1)
  if kind == "" then return nil, "it ends with '%'" end
  if kind == "b" then
    if #text < at + 3 then return nil, "'%b' needs two characters" end
    return at + 4
  end
  if kind == "f" then
    if text:sub(at + 2, at + 2) ~= "[" then return nil, "'%f' needs a set, as in '%f[%a]'" end
    local stop = set_end(text, at + 2)
    return stop, not stop and MISSING_BRACKET or nil
  end
  if kind:match("%d") and captures[tonumber(kind)] ~= "closed" then
    return nil, ("'%%%s' refers to no capture before it"):format(kind)
  end
  return at + 2
end

--- What keeps a text from being a Lua pattern, or nil.
---@param text string
---@return string? problem
function pattern.problem(text)
  local captures, open = {}, {} -- captures: "open" or "closed", by number; open: the numbers, innermost last
  local at = text:sub(1, 1) == "^" and 2 or 1
  while at <= #text do
    local c, problem = text:sub(at, at), nil
    if c == "(" then
      if #captures == MOST_CAPTURES then return "it has too many captures" end
      captures[#captures + 1] = "open"
      open[#open + 1] = #captures
      at = at + 1
    elseif c == ")" then
      if #open == 0 then return "its ')' has no '('" end
      captures[table.remove(open)] = "closed"
      at = at + 1
    elseif c == "%" then
      at, problem = escape_end(text, at, captures)
    elseif c == "[" then
      at = set_end(text, at)
      problem = not at and MISSING_BRACKET or nil
    else
      at = at + 1
    end
    if problem then return problem end
  end
  if #open > 0 then return "its '(' has no ')'" end
  return nil
end

return pattern
