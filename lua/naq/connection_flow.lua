-- connection_flow.lua -- where a value goes in a Lua file: into which variable, out of the function, into
-- a table, to another function. Pure.
local names = require("naq.connection_names")

local flow = {}

local LOOPS = { ["while"] = true, ["repeat"] = true, ["for"] = true }

-- They look at what they are given and keep nothing.
local LOOKING = {}
for name in ("type tostring print rawequal getmetatable"):gmatch("%a+") do
  LOOKING[name] = true
end

local ASSERT, PROTECTED = { assert = true }, { pcall = true, xpcall = true }

--- Is the function a part of the code around it: called on the spot, by pcall or by one of naq's that lend?
---@param tree naq.LuaTree
---@param fn table  "function" node
---@return boolean
function flow.is_inline(tree, fn)
  local parent = fn.parent
  if not parent or parent.tag ~= "call" then return false end
  if fn.slot == 2 and names.is_global(tree, parent[1], PROTECTED) then return true end
  return fn.slot > 1 and names.role(names.meaning(tree, parent[1], 1)) == "lend"
end

--- Is this a call of pcall or xpcall?
function flow.is_protected(tree, call)
  return call.tag == "call" and names.is_global(tree, call[1], PROTECTED)
end

--- The function a node stands in, or the main block; and the innermost loop around the node there, the
--- functions that are part of the code around them looked through.
---@return table owner, table? loop
function flow.surroundings(tree, node)
  local owner, loop
  local at = node
  while at.parent do
    local parent = at.parent
    -- A for's expressions are evaluated once, everything else of a loop again and again.
    if not loop and LOOPS[parent.tag] and not (parent.tag == "for" and at.slot < #parent) then
      loop = parent
    end
    if parent.tag == "function" then
      owner = owner or parent
      if not flow.is_inline(tree, parent) then break end
    end
    at = parent
  end
  return owner or tree.main, loop
end

---@class naq.Fate
---@field kind "variable"|"assigned"|"stored"|"returned"|"argument"|"method"|"field"|"used"|"unknown"
---@field at table          the node that says so
---@field var naq.LuaVariable?  of variable and assigned; nil: a global
---@field looked boolean?   of argument: to a function that keeps nothing

local function logical(node)
  for _, operator in ipairs(node.ops) do
    if operator ~= "and" and operator ~= "or" then return false end
  end
  return true
end

local function of_assignment(node, parent, nth)
  local target = parent[1][node.slot - 1 + nth - 1]
  if not target then return { kind = "used", at = parent } end
  if target.tag ~= "name" then return { kind = "stored", at = target } end
  return { kind = "assigned", at = parent, var = target.var, name = target.name }
end

--- What becomes of the nth value of an expression. assert(), parentheses, `and` and `or` are looked
--- through.
---@param tree naq.LuaTree
---@param node table
---@param nth? integer
---@return naq.Fate
function flow.fate(tree, node, nth)
  nth = nth or 1
  while true do
    local parent = node.parent
    local tag = parent.tag
    if tag == "paren" or tag == "op" and logical(parent) then
      if nth > 1 then return { kind = "used", at = parent } end
      node = parent
    elseif tag == "call" and node.slot > 1 then
      if not names.is_global(tree, parent[1], ASSERT) then
        local looked = names.is_global(tree, parent[1], LOOKING)
        return { kind = "argument", at = parent, looked = looked }
      end
      node, nth = parent, nth + node.slot - 2
    elseif tag == "local" then
      local var = parent.vars[node.slot + nth - 1]
      return { kind = var and "variable" or "used", at = parent, var = var }
    elseif tag == "assign" then
      return of_assignment(node, parent, nth)
    elseif tag == "method" then
      return { kind = node.slot == 1 and "method" or "argument", at = parent }
    elseif tag == "index" then
      return { kind = node.slot == 1 and "field" or "used", at = parent }
    elseif tag == "return" then
      return { kind = "returned", at = parent }
    elseif tag == "table" or tag == "pair" then
      return { kind = "stored", at = parent }
    elseif tag == "for" then
      return { kind = "unknown", at = parent }
    else -- a condition, an operator, a statement of its own
      return { kind = "used", at = parent }
    end
  end
end

return flow
