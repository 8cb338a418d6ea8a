-- lua_tree.lua -- Lua tokens as a tree whose names know their variables, for programs that read programs.
--
-- As much of a parser as it takes to say which variable a name means and what an expression's value goes
-- into: operators keep their operands but not their precedence. Pure, and as lenient as lua_tokens.lua:
-- what some Lua takes is taken.
--
-- A node is {tag, line, parent, slot, [1..] = its children}; parent[slot] is the node itself.
--   name    {name, var?, owner}   no var: a global       paren, unary  expression
--   call    function, arguments   method  {name} object, arguments     index  object, key
--   op      {ops} operands        table   items          pair          key, value
--   string  {value}               const   {value}        function      {params, vararg, owner} block
--   local   {vars} expressions    assign  targets, expressions         return  expressions
--   stat    call                  do      block          while         condition, block
--   repeat  block, condition      if      condition, block, ..., [else's block]
--   for     {vars, numeric} expressions, block           block  statements
--   targets expressions           break, goto, label     owner: the function around it, or the main block
local parser = require("naq.lua_parser")
local tokens = require("naq.lua_tokens")

local lua_tree = {}

---@class naq.LuaTree
---@field main table       the file's block
---@field calls table[]    all "call" and "method" nodes, in the order of the text
---@field globals table<string, table[]>  what globals were given, as a variable's defs

local Parser, adopt = parser.Parser, parser.adopt

local BLOCK_ENDS = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true }

--- Statements up to the block's end, into the node that was made for them.
function Parser:block(block)
  self:deeper()
  local kinds, values = self.tokens.kinds, self.tokens.values
  while kinds[self.i] ~= "end" and not (kinds[self.i] == "keyword" and BLOCK_ENDS[values[self.i]]) do
    if not self:take(";") then adopt(block, self:statement()) end
  end
  self.depth = self.depth - 1
  return block
end

function Parser:scoped_block()
  local block = self:node("block")
  self:open_scope(block)
  self:block(block)
  self:close_scope()
  return block
end

local STATEMENTS = {}

STATEMENTS["do"] = function(self, line)
  local block = self:scoped_block()
  self:expect("end")
  return self:node("do", line, block)
end

STATEMENTS["while"] = function(self, line)
  local condition = self:expression()
  self:expect("do")
  local block = self:scoped_block()
  self:expect("end")
  return self:node("while", line, condition, block)
end

STATEMENTS["repeat"] = function(self, line)
  local block = self:node("block")
  self:open_scope(block) -- the condition sees the block's variables
  self:block(block)
  self:expect("until")
  local condition = self:expression()
  self:close_scope()
  return self:node("repeat", line, block, condition)
end

STATEMENTS["if"] = function(self, line)
  local node = self:node("if", line)
  repeat
    adopt(node, self:expression())
    self:expect("then")
    adopt(node, self:scoped_block())
  until not self:take("elseif")
  if self:take("else") then adopt(node, self:scoped_block()) end
  self:expect("end")
  return node
end

STATEMENTS["for"] = function(self, line)
  local node = self:node("for", line)
  local names = { self:name() }
  node.numeric = self:is("=")
  while self:take(",") do
    names[#names + 1] = self:name()
  end
  self:expect(node.numeric and "=" or "in")
  for _, expr in ipairs(self:list()) do
    adopt(node, expr)
  end
  self:expect("do")
  local block = self:node("block")
  self:open_scope(block)
  node.vars = {}
  for i, name in ipairs(names) do
    node.vars[i] = self:declare(name)
  end
  adopt(node, self:block(block))
  self:close_scope()
  self:expect("end")
  return node
end

STATEMENTS["function"] = function(self, line)
  local target, method = self:reference(), false
  while self:is(".") or self:is(":") do
    method = self:is(":")
    self.i = self.i + 1
    local key = self:node("string")
    key.value = self:name()
    target = self:node("index", line, target, key)
    if method then break end
  end
  return self:assignment(line, { target }, { self:function_body(line, method) })
end

STATEMENTS["local"] = function(self, line)
  local node = self:node("local", line)
  if self:take("function") then
    node.vars = { self:declare(self:name()) }
    adopt(node, self:function_body(line))
  else
    local names, attribs = {}, {}
    repeat
      names[#names + 1] = self:name()
      if self:take("<") then
        attribs[#names] = self:name()
        self:expect(">")
      end
    until not self:take(",")
    if self:take("=") then
      for _, expr in ipairs(self:list()) do
        adopt(node, expr)
      end
    end
    node.vars = {}
    for i, name in ipairs(names) do
      node.vars[i] = self:declare(name, attribs[i])
    end
  end
  parser.define(function(i) return node.vars[i].defs end, #node.vars, node, node)
  return node
end

STATEMENTS["return"] = function(self, line)
  local node = self:node("return", line)
  local kind, value = self.tokens.kinds[self.i], self.tokens.values[self.i]
  local over = kind == "end" or self:is(";") or kind == "keyword" and BLOCK_ENDS[value]
  if not over then
    for _, expr in ipairs(self:list()) do
      adopt(node, expr)
    end
  end
  return node
end

STATEMENTS["break"] = function(self, line) return self:node("break", line) end

STATEMENTS["::"] = function(self, line)
  self:name()
  self:expect("::")
  return self:node("label", line)
end

function Parser:assignment(line, targets, exprs)
  local node = self:node("assign", line, self:node("targets", line))
  for _, target in ipairs(targets) do
    adopt(node[1], target)
    -- What is written is not read.
    local refs = target.tag == "name" and target.var and target.var.refs or {}
    for i = #refs, 1, -1 do
      if refs[i] == target then table.remove(refs, i) end
    end
  end
  for _, expr in ipairs(exprs) do
    adopt(node, expr)
  end
  parser.define(function(i)
    local target = targets[i]
    if target.tag ~= "name" then return nil end
    if target.var then return target.var.defs end
    self.globals[target.name] = self.globals[target.name] or {}
    return self.globals[target.name]
  end, #targets, exprs, node)
  return node
end

function Parser:statement()
  local kinds, values = self.tokens.kinds, self.tokens.values
  local kind, value, line = kinds[self.i], values[self.i], self.tokens.lines[self.i]
  local parse = kind ~= "name" and kind ~= "string" and STATEMENTS[value]
  if parse then
    self.i = self.i + 1
    return parse(self, line)
  elseif kind == "name" and value == "goto" and kinds[self.i + 1] == "name" then
    self.i = self.i + 2
    return self:node("goto", line)
  end
  local first = self:suffixed()
  if self:is("=") or self:is(",") then
    local targets = { first }
    while self:take(",") do
      targets[#targets + 1] = self:suffixed()
    end
    self:expect("=")
    for _, target in ipairs(targets) do
      if target.tag ~= "name" and target.tag ~= "index" then self:fail("cannot assign") end
    end
    return self:assignment(line, targets, self:list())
  end
  if first.tag ~= "call" and first.tag ~= "method" then self:fail("syntax error") end
  return self:node("stat", line, first)
end

local function parse(found)
  local self = setmetatable({ tokens = found, i = 1, depth = 0, calls = {}, globals = {} }, Parser)
  local main = self:node("block", 1)
  self.owner = main
  self:open_scope(main)
  self:block(main)
  if found.kinds[self.i] ~= "end" then self:fail("statement expected") end
  return { main = main, calls = self.calls, globals = self.globals }
end

--- The tree of a whole file.
---@param text string
---@return naq.LuaTree? tree, string? message, integer? line
function lua_tree.read(text)
  local found, message, line = tokens.read(text)
  if not found then return nil, message, line end
  local ok, result = pcall(parse, found)
  if ok then return result end
  if type(result) ~= "table" or not result.syntax then error(result, 0) end
  return nil, result.syntax, result.line
end

return lua_tree
