-- connection_paths.lua -- whether a handle in a local variable is given back on every way out of the
-- statements behind its opening, errors included. Pure.
local names = require("naq.connection_names")

local paths = {}

-- Calls that raise nothing, or end the program.
local HARMLESS = {}
for name in ("type tostring tonumber select rawequal pcall xpcall next print"):gmatch("%a+") do
  HARMLESS[name] = true
end

local function is_harmless(tree, fn)
  if fn.tag == "index" and fn[2].value == "exit" then return names.is_global(tree, fn[1], { os = true }) end
  return names.is_global(tree, fn, HARMLESS)
end

---@class naq.PathState
---@field tree naq.LuaTree
---@field var naq.LuaVariable
---@field closes table<table, true> nodes of the variable where it is closed
---@field risk integer?             line of the first call that may raise while it is open
---@field perhaps boolean?          closed on some ways only

---@alias naq.Verdict "yes"|"no"|"unknown"

local function is_var(node, var) return node.tag == "name" and node.var == var end

local function is_nil(node) return node.tag == "const" and node.value == "nil" end

local function compares(node, operator, var)
  if node.tag ~= "op" or #node ~= 2 or node.ops[1] ~= operator then return false end
  return is_var(node[1], var) and is_nil(node[2])
end

-- The error that came in the handle's place: `local conn, err = naq.connection()`.
local function is_companion(state, node)
  if node.tag ~= "name" or not node.var then return false end
  local first = state.var.defs[#state.var.defs]
  local own = node.var.defs[1]
  return first ~= nil and own ~= nil and #node.var.defs == 1 and own.at == first.at
    and own.expr == first.expr and own.nth > first.nth
end

-- Conditions under which there is no handle, and those under which there is one.
local function says_none(state, node)
  local var = state.var
  return node.tag == "unary" and node.op == "not" and is_var(node[1], var)
    or compares(node, "==", var) or is_companion(state, node)
end

local function says_some(state, node) return is_var(node, state.var) or compares(node, "~=", state.var) end

-- Calls visit(node) for what is evaluated inside a node, statements of nested blocks included, bodies of
-- functions not.
local function each_inside(node, visit)
  local stack = { node }
  while #stack > 0 do
    local at = table.remove(stack)
    if at.tag ~= "function" then
      visit(at)
      for i = #at, 1, -1 do
        stack[#stack + 1] = at[i]
      end
    end
  end
end

-- Is the handle closed in this statement whichever way it goes?
local function closes_at(state, statement)
  for node in pairs(state.closes) do
    local at = node
    while at ~= statement and at.parent and at.tag ~= "block" and at.tag ~= "function" do
      at = at.parent
    end
    if at == statement then return true end
  end
  return false
end

local function closes_inside(state, statement)
  local found = false
  each_inside(statement, function(node) found = found or state.closes[node] ~= nil end)
  return found
end

-- Is it closed inside on a way that goes on behind the statement?
local function closes_in_passing(state, statement)
  local found = false
  each_inside(statement, function(node)
    if not state.closes[node] then return end
    local block = node.parent
    while block.tag ~= "block" do
      block = block.parent
    end
    found = found or block[#block].tag ~= "return"
  end)
  return found
end

-- A return (or goto) in a statement, in front of which nothing closes the handle; and those under which
-- there is none are passed over.
local function leak_in(state, statement)
  local leak
  local skipped = statement.tag == "if" and says_none(state, statement[1]) and statement[2]
  each_inside(statement, function(node)
    if leak or node.tag ~= "return" and node.tag ~= "goto" then return end
    local at = node
    while at ~= statement do
      local block = at.parent
      if block == skipped then return end
      if block.tag == "block" then
        for i = at.slot, 1, -1 do
          if closes_at(state, block[i]) then return end
        end
      end
      at = block
    end
    if not closes_at(state, node) then leak = node end
  end)
  return leak
end

-- The line of the first call inside that may raise.
local function risk_in(state, statement)
  local line
  local skipped = statement.tag == "if" and says_none(state, statement[1]) and statement[2]
  each_inside(statement, function(node)
    if line or node.tag ~= "call" and node.tag ~= "method" then return end
    local object = node[1]
    if node.tag == "method" and state.closes[object] then return end
    if node.tag == "call" and is_harmless(state.tree, object) then return end
    -- assert(conn): whether there is one at all
    if node.tag == "call" and node[2] and is_var(node[2], state.var) and names.is_global(state.tree, object,
      { assert = true }) then return end
    local at = node
    while skipped and at ~= statement do
      if at == skipped then return end
      at = at.parent
    end
    line = node.line
  end)
  return line
end

local follow

-- `if conn then ... end`, the `else` of `if not conn`, `do ... end`: the statements inside are the way on.
local function enter(state, statement)
  local block
  if statement.tag == "do" then
    block = statement[1]
  elseif statement.tag == "if" and says_some(state, statement[1]) then
    block = statement[2]
  elseif statement.tag == "if" and #statement == 3 and says_none(state, statement[1]) then
    block = statement[3]
  end
  if not block or not closes_inside(state, block) then return nil end
  local verdict, line, reason = follow(state, block, 1)
  if verdict ~= "open" then return verdict, line, reason end
end

local function closed(state)
  if state.perhaps then return "unknown" end
  if state.risk then return "no", state.risk, "error" end
  return "yes"
end

--- From a statement of a block to the block's end. "open": still not closed there.
---@return naq.Verdict|"open" verdict, integer? line, string? reason
function follow(state, block, first)
  for i = first, #block do
    local statement = block[i]
    local verdict, line, reason = enter(state, statement)
    if verdict then return verdict, line, reason end
    local leak = leak_in(state, statement)
    if leak then
      if leak.tag == "goto" then return "unknown" end
      return "no", leak.line, "return"
    end
    if closes_at(state, statement) then return closed(state) end
    state.risk = state.risk or risk_in(state, statement)
    state.perhaps = state.perhaps or closes_in_passing(state, statement)
  end
  return "open"
end

--- Is the handle given back on every way from its opening on? With the line and the reason where it is
--- not: an "error" there passes the closing by, a "return" leaves it open, it is "never" closed.
---@param tree naq.LuaTree
---@param var naq.LuaVariable
---@param opened table            the statement that opens
---@param closes table<table, true>
---@return naq.Verdict verdict, integer? line, "error"|"return"|"never"|nil reason
function paths.given_back(tree, var, opened, closes)
  local state = { tree = tree, var = var, closes = closes }
  local block, first = opened.parent, opened.slot + 1
  -- Assigned in a condition's block and closed behind it.
  while true do
    local verdict, line, reason = follow(state, block, first)
    if verdict ~= "open" then return verdict, line, reason end
    local around = block.parent
    if block == var.block or not around or around.tag == "function" then break end
    if around.tag == "for" or around.tag == "while" or around.tag == "repeat" then return "unknown" end
    block, first = around.parent, around.slot + 1
  end
  if state.perhaps then return "unknown" end
  return "no", opened.line, "never"
end

return paths
