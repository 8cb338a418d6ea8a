-- connection_scan.lua -- how a Lua file uses naq's connections: every place where one is opened or lent,
-- whether it is given back on an error too, and what to write where it is not.
--
-- Reads the file as Lua does (lua_tokens.lua, lua_tree.lua) and follows names and values through it. What
-- cannot be followed is "unknown", never a guess. Pure: reads no files.
local advice = require("naq.connection_advice")
local flow = require("naq.connection_flow")
local holder = require("naq.connection_holder")
local lua_tree = require("naq.lua_tree")
local names = require("naq.connection_names")

local connection_scan = {}

---@class naq.ConnectionUse
---@field line integer
---@field call string?          "naq.connection"
---@field pattern string        see connection_advice.lua
---@field given_back "yes"|"no"|"unknown"
---@field change boolean        should be written otherwise
---@field why string            one sentence
---@field instead string?       what to write, where something should be changed

-- How many of the function's first parameters are handles.
local HANDLES = { with_jetstream = 2, with_kv = 2 } -- of the others: one

local function of_lent(tree, call, found)
  for i = 2, #call do
    local fn = call[i]
    if fn.tag == "function" then
      local line = holder.lets_out(tree, fn, HANDLES[found.member] or 1)
      if line then return "kept-after-scope", "yes", line end
    end
  end
  return found.role == "lend" and "scoped" or "injected", "yes"
end

local function in_a_function(found) return found.loop and "per-iteration" or "per-call" end

-- A handle in a variable of the function that opened it, or of the main chunk.
local function of_variable(tree, found, var, statement)
  if var.attrib == "close" then return "to-be-closed", "yes" end
  local holding = holder.judge(tree, var, statement)
  if holding.how == "returned" then return "returned", "unknown" end
  if found.owner == tree.main and not found.loop then return "module", "yes" end
  if holding.how == "closed" or holding.how == "kept" then
    return in_a_function(found), holding.verdict, holding.line, holding.reason
  end
  return holding.how == "argument" and "passed-on" or holding.how, "unknown"
end

-- The value is used up where it is made: naq.connection():publish(...)
local function of_unnamed(tree, found, fate)
  local at = fate.at
  if fate.kind == "method" and at.name == "close" then return in_a_function(found), "yes" end
  if found.owner == tree.main and not found.loop then return "module", "yes" end
  local made = fate.kind == "method" and holder.made(tree, at)
  if made and made.kind == "variable" then
    local how = holder.judge(tree, made.var, made.at).how
    if how ~= "kept" and how ~= "closed" then return how == "argument" and "passed-on" or how, "unknown" end
  elseif made and made.kind ~= "used" and made.kind ~= "method" then
    return made.kind == "returned" and "returned" or "stored", "unknown"
  end
  return "dropped", "no", found.line
end

local function of_opened(tree, found)
  local fate = flow.fate(tree, found.node, found.nth)
  local kind = fate.kind
  if kind == "variable" then
    return of_variable(tree, found, fate.var, fate.at)
  elseif kind == "assigned" then
    if fate.var and fate.var.owner == found.owner then
      return of_variable(tree, found, fate.var, fate.at)
    end
    return found.owner == tree.main and not found.loop and "module" or "stored",
      found.owner == tree.main and not found.loop and "yes" or "unknown"
  elseif kind == "returned" then
    return "returned", "unknown"
  elseif kind == "argument" and not fate.looked then
    return "passed-on", "unknown"
  elseif kind == "stored" or kind == "unknown" then
    if found.owner == tree.main and not found.loop then return "module", "yes" end
    return "stored", "unknown"
  end
  -- The first naq.connect() of a program makes the default client, which the program keeps.
  if found.member == "connect" and found.module == "naq" and fate.at.tag == "stat" then
    return "default-client", "yes"
  end
  return of_unnamed(tree, found, fate)
end

-- What a call has to do with connections, if anything: its role and which of its values is the handle.
local function look(tree, call)
  if call.tag ~= "call" then return nil end
  local meant, nth = names.meaning(tree, call[1], 1), 1
  if flow.is_protected(tree, call) and call[2] then
    meant, nth = names.meaning(tree, call[2], 1), 2
  end
  local owner, loop = flow.surroundings(tree, call)
  local found = { node = call, nth = nth, line = call.line, owner = owner, loop = loop }
  if meant and meant.module and meant.member then
    found.module, found.member = meant.module, meant.member
    found.call = ("%s.%s"):format(meant.module, meant.member)
    found.role = names.role(meant)
    if meant.member == "?" then return found, "computed" end
    if meant.unsure then return found.role and found.role ~= "default" and found or nil, "unsure" end
    return found.role and found or nil
  end
  found.call = names.looks_like(tree, call[1])
  if found.call then return found, "unsure" end
end

local function judge(tree, call)
  local found, doubt = look(tree, call)
  if not found then return nil end
  local pattern, given_back, line, reason
  if doubt then
    pattern, given_back = "unresolved", "unknown"
  elseif found.role == "default" then
    pattern, given_back = "default-client", "yes"
  elseif found.role == "open" then
    pattern, given_back, line, reason = of_opened(tree, found)
  else
    pattern, given_back, line = of_lent(tree, call, found)
  end
  local use = { line = found.line, call = found.call, pattern = pattern, given_back = given_back }
  return advice.complete(use, { at = line, reason = reason, doubt = doubt })
end

--- naq's functions given away without being called: what becomes of their handles is not seen.
local function handed_on(tree, call, uses)
  for i = 2, #call do
    local argument = call[i]
    local meant = names.meaning(tree, argument, 1)
    local as_first = i == 2 and flow.is_protected(tree, call)
    if names.role(meant) == "open" and not as_first and argument.tag ~= "call" then
      uses[#uses + 1] = advice.complete({
        line = argument.line,
        call = ("%s.%s"):format(meant.module, meant.member),
        pattern = "passed-on",
        given_back = "unknown",
      }, { doubt = "function" })
    end
  end
end

--- All uses of connections in a file, in the order of its lines.
---@param text string
---@return naq.ConnectionUse[]? uses, string? message, integer? line  a message: it is no Lua
function connection_scan.scan(text)
  local tree, message, line = lua_tree.read(text)
  if not tree then return nil, message, line end
  local uses = {}
  for _, call in ipairs(tree.calls) do
    uses[#uses + 1] = judge(tree, call)
    handed_on(tree, call, uses)
  end
  for i, use in ipairs(uses) do
    use.order = i
  end
  table.sort(uses, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.order < b.order
  end)
  for _, use in ipairs(uses) do
    use.order = nil
  end
  return uses
end

return connection_scan
