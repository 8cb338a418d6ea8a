-- connection_names.lua -- which expressions of a Lua file mean naq, or a function of it that has to do
-- with connections, under whatever name the file uses.
--
-- Follows `require`, variables and assignments as far as they have one value; what may be something else
-- is unsure, and what cannot be followed is nil. Pure.
local names = {}

-- What calling a function means for the connection behind it:
--   open    gives a handle that somebody has to give back
--   lend    calls a function with a handle and gives it back
--   inject  makes a function that is lent a handle at each call
--   default works on the default client
local LENT = {
  with_connection = "lend", with_jetstream = "lend", with_kv = "lend",
  uses_connection = "inject", uses_jetstream = "inject",
}

local function plus(members)
  for name, role in pairs(LENT) do
    members[name] = role
  end
  return members
end

---@type table<string, table<string, "open"|"lend"|"inject"|"default">>
names.ROLES = {
  naq = plus({
    connect = "open", connection = "open", services = "open",
    enqueue = "default", enqueue_at = "default", enqueue_in = "default", purge_queue = "default",
    fetch_job_result = "default", list_workers = "default", cancel_scheduled_job = "default",
    pause_scheduled_job = "default", resume_scheduled_job = "default", modify_scheduled_job = "default",
  }),
  ["naq.connections"] = plus({ connect = "open", open = "open" }),
  ["naq.client"] = { connect = "open" },
  ["naq.core"] = { connect = "open" },
}

---@class naq.Meaning
---@field module string?  "naq"
---@field member string?  of module: "connect"; "?" where the key is computed
---@field global string?  a global that no assignment of the file changes: "require"
---@field unsure boolean? may be module, may be something else
---@field other boolean?  certainly something else

local OTHER = { other = true }
local FOLLOWED = 20 -- variables that stand for variables

local meaning

local function is_nothing(expr) return not expr or expr.tag == "const" and expr.value == "nil" end

-- What a variable means that was given these values.
local function of_defs(tree, defs, depth)
  local found, others
  for _, def in ipairs(defs) do
    if not is_nothing(def.expr) then
      local one = meaning(tree, def.expr, def.nth, depth + 1)
      if one and one.module then
        local same = not found or found.module == one.module and found.member == one.member
        others = others or not same or one.unsure
        found = found or one
      else
        others = true
      end
      if not found and #defs == 1 then return one end
    end
  end
  if found and others then return { module = found.module, member = found.member, unsure = true } end
  return found
end

local function of_name(tree, node, depth)
  if node.var then return of_defs(tree, node.var.defs, depth) end
  local given = tree.globals[node.name]
  if given then return of_defs(tree, given, depth) end
  return { global = node.name }
end

local function of_index(tree, node, depth)
  local object, key = meaning(tree, node[1], 1, depth + 1), node[2]
  if not object or not object.module or object.member then return nil end
  local member = key.tag == "string" and key.value or "?"
  return { module = object.module, member = member, unsure = object.unsure }
end

-- require("naq"), assert(...), pcall(require, "naq")
local function of_call(tree, node, nth, depth)
  local fn, skipped = meaning(tree, node[1], 1, depth + 1), 0
  if fn and fn.global == "pcall" and node[2] and nth > 1 then
    fn, skipped, nth = meaning(tree, node[2], 1, depth + 1), 1, nth - 1
  end
  local argument = node[2 + skipped]
  if not fn or not argument then return nil end
  if fn.global == "require" and nth == 1 and argument.tag == "string" then
    return names.ROLES[argument.value] and { module = argument.value } or OTHER
  elseif fn.global == "assert" and skipped == 0 then
    if node[1 + nth] then return meaning(tree, node[1 + nth], 1, depth + 1) end
  end
  return nil
end

-- `a or b` is one of them.
local function of_op(tree, node, depth)
  local found
  for i, operand in ipairs(node) do
    local operator = node.ops[i]
    if operator and operator ~= "and" and operator ~= "or" then return OTHER end
    local one = meaning(tree, operand, 1, depth + 1)
    if one and one.module then found = found or one end
  end
  return found and { module = found.module, member = found.member, unsure = true }
end

--- What an expression means; nil: it cannot be told.
---@param tree naq.LuaTree
---@param node table
---@param nth? integer  which of a call's values
---@param depth? integer
---@return naq.Meaning?
function meaning(tree, node, nth, depth)
  depth = depth or 0
  if depth > FOLLOWED then return nil end
  local tag = node.tag
  if tag == "name" then return of_name(tree, node, depth) end
  if tag == "index" then return of_index(tree, node, depth) end
  if tag == "paren" then return meaning(tree, node[1], 1, depth + 1) end
  if tag == "call" then return of_call(tree, node, nth or 1, depth) end
  if tag == "op" then return of_op(tree, node, depth) end
  if tag == "method" or tag == "const" and node.value == "..." then return nil end
  return OTHER
end

names.meaning = meaning

--- The role of what is meant, where it has one.
---@param meant naq.Meaning?
---@return "open"|"lend"|"inject"|"default"|nil
function names.role(meant)
  return meant and meant.module and meant.member and names.ROLES[meant.module][meant.member] or nil
end

--- Is it one of these globals of Lua?
---@param tree naq.LuaTree
---@param node table
---@param set table<string, boolean>
---@return boolean
function names.is_global(tree, node, set)
  local meant = meaning(tree, node, 1)
  return meant ~= nil and meant.global ~= nil and set[meant.global] or false
end

--- A call that looks like one of naq's though what it is called on cannot be followed: `self.naq.connect()`.
---@param tree naq.LuaTree
---@param node table  the function that is called
---@return string? name  "naq.connect"
function names.looks_like(tree, node)
  if node.tag ~= "index" or node[2].tag ~= "string" then return nil end
  local object = node[1]
  local role = names.ROLES.naq[node[2].value]
  if not role or role == "default" then return nil end
  local last = object.tag == "name" and object.name
    or object.tag == "index" and object[2].tag == "string" and object[2].value
  if last ~= "naq" then return nil end
  local meant = meaning(tree, object, 1)
  if meant and (meant.other or meant.module and not meant.unsure) then return nil end
  return "naq." .. node[2].value
end

return names
