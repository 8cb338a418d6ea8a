-- connection_holder.lua -- what a file does with a handle that it keeps in a local variable: closes it
-- itself, lets it go elsewhere, or neither. Pure.
local flow = require("naq.connection_flow")
local paths = require("naq.connection_paths")

local holder = {}

local CLOSING = { close = true, disconnect = true }

-- Methods whose value works only as long as the handle that it came from.
local MAKING = {}
for name in ("queue jetstream kv subscribe pull_subscribe jobs streams"):gmatch("[%a_]+") do
  MAKING[name] = true
end

--- What becomes of the thing that a method of a handle makes, through what is made of that in turn:
--- conn:jetstream():kv("b"). nil: the method makes nothing that needs the handle.
---@param tree naq.LuaTree
---@param method table  "method" node
---@return naq.Fate?
function holder.made(tree, method)
  local fate
  while MAKING[method.name] do
    fate = flow.fate(tree, method)
    if fate.kind ~= "method" then break end
    method = fate.at
  end
  return fate
end

-- Where a value goes when it leaves the function's hands.
local ESCAPES = {
  returned = "returned", argument = "argument", stored = "stored", assigned = "stored", unknown = "stored",
}

local function key_of(index) return index[2].tag == "string" and index[2].value or nil end

-- conn.close as a function: conn.close(conn), pcall(conn.close, conn)
local function closes_by_field(tree, index)
  if not CLOSING[key_of(index) or ""] then return false end
  local call = index.parent
  return call.tag == "call" and (index.slot == 1 or index.slot == 2 and flow.is_protected(tree, call))
end

-- What one mention of the variable does.
---@return "close"|"use"|"returned"|"stored"|"argument"|"captured"
local function mention(tree, ref, var, depth)
  local fate = flow.fate(tree, ref)
  local kind, inline = fate.kind, true
  local owner = ref.owner
  while owner ~= var.owner and inline do
    inline = owner.tag == "function" and flow.is_inline(tree, owner)
    owner = owner.owner
  end
  if not inline then return "captured" end
  if kind == "method" then
    local method = fate.at.name
    -- An error before a close in a function that pcall called leaves it open; which, nobody knows here.
    if CLOSING[method] then return ref.owner == var.owner and "close" or "captured" end
    -- What was made of it may go where the handle itself does not.
    local made = depth < 3 and holder.made(tree, fate.at)
    if made and made.kind == "variable" then
      for _, other in ipairs(made.var.refs) do
        local what = mention(tree, other, made.var, depth + 1)
        if what ~= "use" and what ~= "close" then return what end
      end
    elseif made and ESCAPES[made.kind] then
      return ESCAPES[made.kind]
    end
    return "use"
  elseif kind == "field" then
    return closes_by_field(tree, fate.at) and "close" or "use"
  elseif kind == "argument" then
    local call = fate.at
    local beside = call[2] ~= ref and call[2]
    local closing = call.tag == "call" and (call[1].tag == "index" and CLOSING[key_of(call[1]) or ""]
      or beside and beside.tag == "index" and CLOSING[key_of(beside) or ""])
    return (fate.looked or closing) and "use" or "argument"
  end
  return kind == "used" and "use" or ESCAPES[kind] or "stored" -- another variable: not followed
end

---@class naq.Holding
---@field how "returned"|"stored"|"captured"|"argument"|"closed"|"kept"
---@field verdict naq.Verdict
---@field line integer?
---@field reason "error"|"return"|"never"|nil

--- What becomes of a handle that a statement puts into a local variable.
---@param tree naq.LuaTree
---@param var naq.LuaVariable
---@param opened table  the statement
---@return naq.Holding
function holder.judge(tree, var, opened)
  local seen, closes = {}, {}
  for _, ref in ipairs(var.refs) do
    local what = mention(tree, ref, var, 0)
    seen[what] = true
    if what == "close" then closes[ref] = true end
  end
  for _, how in ipairs({ "returned", "stored", "captured" }) do
    if seen[how] then return { how = how, verdict = "unknown" } end
  end
  if not seen.close then
    if seen.argument then return { how = "argument", verdict = "unknown" } end
    return { how = "kept", verdict = "no", line = opened.line, reason = "never" }
  end
  local verdict, line, reason = paths.given_back(tree, var, opened, closes)
  return { how = "closed", verdict = verdict, line = line, reason = reason }
end

--- Does a function that is lent a handle let it out: the line where it returns it, or assigns it to a
--- variable that lives on? The connection is given back by then.
---@param tree naq.LuaTree
---@param fn table  "function" node
---@param handles integer  how many of its first parameters are handles
---@return integer? line
function holder.lets_out(tree, fn, handles)
  for i = 1, handles do
    for _, ref in ipairs(fn.params[i] and fn.params[i].refs or {}) do
      local fate = flow.fate(tree, ref)
      local outer = fate.kind == "assigned" and (not fate.var or fate.var.owner ~= fn)
      if ref.owner == fn and (fate.kind == "returned" or outer) then return ref.line end
    end
  end
end

return holder
