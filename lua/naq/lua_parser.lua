-- lua_parser.lua -- what stands inside Lua's statements: the cursor on the tokens, nodes, variables and
-- their scopes, expressions. lua_tree.lua adds the statements and says what a tree looks like.
local lua_parser = {}

---@class naq.LuaVariable
---@field name string
---@field attrib string?   "close", "const"
---@field owner table      the function (or the main block) that declares it
---@field block table      of its declaration
---@field refs table[]     name nodes that read it
---@field defs table[]     {expr = node?, nth = integer, at = node}: what it was given

-- As deep as luac goes.
local DEEPEST = 200

---@class naq.LuaParser
local Parser = {}
Parser.__index = Parser
lua_parser.Parser = Parser

function Parser:fail(message)
  local i = self.i
  local near = self.tokens.kinds[i] == "end" and "the end" or "'" .. self.tokens.values[i]:sub(1, 40) .. "'"
  error({ syntax = ("%s near %s"):format(message, near), line = self.tokens.lines[i] }, 0)
end

function Parser:is(value)
  local kind = self.tokens.kinds[self.i]
  return (kind == "symbol" or kind == "keyword") and self.tokens.values[self.i] == value
end

function Parser:take(value)
  if not self:is(value) then return false end
  self.i = self.i + 1
  return true
end

function Parser:expect(value)
  if not self:take(value) then self:fail(("'%s' expected"):format(value)) end
end

function Parser:name()
  if self.tokens.kinds[self.i] ~= "name" then self:fail("name expected") end
  self.i = self.i + 1
  return self.tokens.values[self.i - 1]
end

--- Make a node another one's last child.
function lua_parser.adopt(node, child)
  node[#node + 1] = child
  child.parent, child.slot = node, #node
  return child
end

local adopt = lua_parser.adopt

function Parser:node(tag, line, ...)
  local node = { tag = tag, line = line or self.tokens.lines[self.i] }
  for i = 1, select("#", ...) do
    adopt(node, (select(i, ...)))
  end
  if tag == "call" or tag == "method" then self.calls[#self.calls + 1] = node end
  return node
end

-- Variables --------------------------------------------------------------------------------------

function Parser:open_scope(block) self.scope = { outer = self.scope, block = block, vars = {} } end

function Parser:close_scope() self.scope = self.scope.outer end

function Parser:declare(name, attrib)
  local var = {
    name = name, attrib = attrib, owner = self.owner, block = self.scope.block, refs = {}, defs = {},
  }
  self.scope.vars[name] = var
  return var
end

function Parser:lookup(name)
  local scope = self.scope
  while scope do
    if scope.vars[name] then return scope.vars[name] end
    scope = scope.outer
  end
end

--- A list of variables gets a list of expressions: the last one may have several values.
---@param defs_of fun(i: integer): table?  the list of what the i-th was given
function lua_parser.define(defs_of, count, exprs, at)
  for i = 1, count do
    local expr, nth = exprs[i], 1
    if not expr and #exprs > 0 then
      expr, nth = exprs[#exprs], i - #exprs + 1
    end
    local defs = defs_of(i)
    if defs then defs[#defs + 1] = { expr = expr, nth = nth, at = at } end
  end
end

-- Expressions ------------------------------------------------------------------------------------

--- One level further in; whoever calls it takes one from self.depth when it is done.
function Parser:deeper()
  self.depth = self.depth + 1
  if self.depth > DEEPEST then self:fail("nested too deeply") end
end

function Parser:list()
  local list = { self:expression() }
  while self:take(",") do
    list[#list + 1] = self:expression()
  end
  return list
end

function Parser:function_body(line, method)
  local node = self:node("function", line)
  local owner = self.owner
  node.owner = owner
  self.owner = node
  local block = self:node("block", line)
  self:open_scope(block)
  node.params = {}
  if method then node.params[1] = self:declare("self") end
  self:expect("(")
  while not self:is(")") do
    if self:take("...") then
      node.vararg = true
      break
    end
    node.params[#node.params + 1] = self:declare(self:name())
    if not self:take(",") then break end
  end
  self:expect(")")
  adopt(node, self:block(block))
  self:close_scope()
  self:expect("end")
  self.owner = owner
  return node
end

function Parser:table()
  local node = self:node("table")
  self:expect("{")
  while not self:is("}") do
    local line = self.tokens.lines[self.i]
    if self:take("[") then
      local key = self:expression()
      self:expect("]")
      self:expect("=")
      adopt(node, self:node("pair", line, key, self:expression()))
    elseif self.tokens.kinds[self.i] == "name" and self.tokens.values[self.i + 1] == "="
      and self.tokens.kinds[self.i + 1] == "symbol" then
      local key = self:node("string", line)
      key.value = self:name()
      self:expect("=")
      adopt(node, self:node("pair", line, key, self:expression()))
    else
      adopt(node, self:expression())
    end
    if not (self:take(",") or self:take(";")) then break end
  end
  self:expect("}")
  return node
end

function Parser:arguments(node)
  if self.tokens.kinds[self.i] == "string" or self:is("{") then
    adopt(node, self:simple())
  else
    self:expect("(")
    if not self:is(")") then
      for _, argument in ipairs(self:list()) do
        adopt(node, argument)
      end
    end
    self:expect(")")
  end
  return node
end

function Parser:reference()
  local node = self:node("name")
  node.name = self:name()
  node.owner = self.owner
  node.var = self:lookup(node.name)
  if node.var then node.var.refs[#node.var.refs + 1] = node end
  return node
end

-- A name or a parenthesis with what hangs on it: a.b[c]:d(e)(f).
function Parser:suffixed()
  local node
  local line = self.tokens.lines[self.i]
  if self:take("(") then
    node = self:node("paren", line, self:expression())
    self:expect(")")
  else
    node = self:reference()
  end
  while true do
    line = self.tokens.lines[self.i]
    if self:take(".") then
      local key = self:node("string")
      key.value = self:name()
      node = self:node("index", line, node, key)
    elseif self:take("[") then
      node = self:node("index", line, node, self:expression())
      self:expect("]")
    elseif self:take(":") then
      local method = self:node("method", line, node)
      method.name = self:name()
      node = self:arguments(method)
    elseif self:is("(") or self:is("{") or self.tokens.kinds[self.i] == "string" then
      node = self:arguments(self:node("call", line, node))
    else
      return node
    end
  end
end

local CONSTANTS = { ["nil"] = true, ["true"] = true, ["false"] = true, ["..."] = true }

function Parser:simple()
  local kind, value = self.tokens.kinds[self.i], self.tokens.values[self.i]
  local line = self.tokens.lines[self.i]
  if kind == "string" or kind == "number" or kind ~= "name" and CONSTANTS[value] then
    local node = self:node(kind == "string" and "string" or "const", line)
    node.value = value
    self.i = self.i + 1
    return node
  elseif self:take("function") then
    return self:function_body(line)
  elseif self:is("{") then
    return self:table()
  end
  if kind ~= "name" and not self:is("(") then self:fail("expression expected") end
  return self:suffixed()
end

local UNARY = { ["not"] = true, ["-"] = true, ["#"] = true, ["~"] = true }
local BINARY = {}
for operator in ("+ - * / // % ^ .. == ~= < > <= >= and or & | ~ << >>"):gmatch("%S+") do
  BINARY[operator] = true
end

function Parser:operator(set)
  local kind, value = self.tokens.kinds[self.i], self.tokens.values[self.i]
  if (kind == "symbol" or kind == "keyword") and set[value] then
    self.i = self.i + 1
    return value
  end
end

function Parser:operand()
  local line, outermost, innermost = self.tokens.lines[self.i], nil, nil
  local unary = self:operator(UNARY)
  while unary do
    local node = self:node("unary", line)
    node.op = unary
    if innermost then adopt(innermost, node) end
    outermost, innermost = outermost or node, node
    unary = self:operator(UNARY)
  end
  local operand = self:simple()
  if innermost then adopt(innermost, operand) end
  return outermost or operand
end

function Parser:expression()
  self:deeper()
  local line = self.tokens.lines[self.i]
  local first = self:operand()
  local operator = self:operator(BINARY)
  if operator then
    first = self:node("op", line, first)
    first.ops = {}
    while operator do
      first.ops[#first.ops + 1] = operator
      adopt(first, self:operand())
      operator = self:operator(BINARY)
    end
  end
  self.depth = self.depth - 1
  return first
end

return lua_parser
