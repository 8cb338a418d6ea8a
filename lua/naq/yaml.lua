-- yaml.lua -- YAML text as a tree whose every node knows its line. lyaml's own loader drops the lines; the
-- events of its parser carry them.
--
-- A node is {kind = "scalar", line, text, plain} | {kind = "list", line, items} | {kind = "map", line,
-- entries}, an entry {key, line, value}. Scalars stay text: who reads them knows the type that is wanted.
-- Anchors, aliases and merge keys (<<) are resolved here; an alias shares the node it names. Lua errors
-- don't leave this file.
local core = require("naq.core")

local yaml = {}

---@class naq.YamlNode
---@field kind "scalar"|"list"|"map"
---@field line integer
---@field text string?      of a scalar
---@field plain boolean?    of a scalar: written without quotes
---@field items naq.YamlNode[]?
---@field entries {key: string, line: integer, value: naq.YamlNode}[]?

local DEPTH = 32

--- End parsing with what is wrong and where.
local function fail(line, ...) error({ line = line, text = string.format(...) }, 0) end

local NULLS = { [""] = true, ["~"] = true, null = true, Null = true, NULL = true }

--- Whether a node says that there is no value: `key:`, `key: ~`, `key: null`.
---@param node naq.YamlNode
function yaml.is_null(node) return node.kind == "scalar" and node.plain and NULLS[node.text] == true end

local PREFIX = "tag:yaml.org,2002:"
local TEXT_TAGS = { str = true }
local PLAIN_TAGS = { int = true, float = true, bool = true, null = true }

local Builder = {}
Builder.__index = Builder

function Builder:next()
  local event = self.parse()
  self.line = event.start_mark.line + 1
  return event
end

function Builder:remember(event, node)
  if event.anchor then self.anchors[event.anchor] = node end
  return node
end

function Builder:scalar(event)
  local plain = event.style == "PLAIN"
  if event.tag and event.tag ~= "!" then
    local known = event.tag:sub(1, #PREFIX) == PREFIX and event.tag:sub(#PREFIX + 1)
    if TEXT_TAGS[known] then
      plain = false
    elseif PLAIN_TAGS[known] then
      plain = true
    else
      fail(self.line, "tag %s is not known here", event.tag)
    end
  end
  return { kind = "scalar", line = self.line, text = event.value, plain = plain }
end

-- What << brings along: entries of one mapping, or of several, the first of which wins.
function Builder:merge(line, node, into)
  if node.kind == "list" then
    for _, item in ipairs(node.items) do
      self:merge(line, item, into)
    end
  elseif node.kind == "map" then
    for _, entry in ipairs(node.entries) do
      if not into[entry.key] then
        into[entry.key] = true
        into[#into + 1] = entry
      end
    end
  else
    fail(line, "<< takes a mapping, or a list of them")
  end
end

function Builder:map(event, depth)
  local node = { kind = "map", line = self.line, entries = {} }
  local own, merged = {}, {}
  while true do
    local key = self:next()
    if key.type == "MAPPING_END" then break end
    local line = self.line
    if key.type ~= "SCALAR" then fail(line, "a key must be a word") end
    local value = self:node(self:next(), depth + 1)
    if key.value == "<<" and key.style == "PLAIN" then
      self:merge(line, value, merged)
    elseif own[key.value] then
      local text = ("key '%s' stands here twice, first in line %d"):format(key.value, own[key.value])
      self.problems[#self.problems + 1] = { line = line, text = text }
    else
      own[key.value] = line
      node.entries[#node.entries + 1] = { key = key.value, line = line, value = value }
    end
  end
  for _, entry in ipairs(merged) do
    if not own[entry.key] then node.entries[#node.entries + 1] = entry end
  end
  -- Only now: an alias inside its own anchor would make a tree without an end.
  return self:remember(event, node)
end

function Builder:list(event, depth)
  local node = { kind = "list", line = self.line, items = {} }
  while true do
    local item = self:next()
    if item.type == "SEQUENCE_END" then break end
    node.items[#node.items + 1] = self:node(item, depth + 1)
  end
  return self:remember(event, node)
end

function Builder:node(event, depth)
  if depth > DEPTH then fail(self.line, "nested deeper than %d levels", DEPTH) end
  if event.type == "SCALAR" then return self:remember(event, self:scalar(event)) end
  if event.type == "MAPPING_START" then return self:map(event, depth) end
  if event.type == "SEQUENCE_START" then return self:list(event, depth) end
  local known = self.anchors[event.anchor]
  if not known then fail(self.line, "alias *%s names no anchor that stands before it", event.anchor) end
  return known
end

function Builder:document()
  self:next() -- the stream's start
  local event, root = self:next(), false
  if event.type == "DOCUMENT_START" then
    root = self:node(self:next(), 1)
    self:next() -- the document's end
    event = self:next()
  end
  if event.type ~= "STREAM_END" then fail(self.line, "a second document begins here; there may be one") end
  return root
end

-- libyaml names no line for a byte that it cannot read.
local function unreadable_line(text)
  local number = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    if not core.encode(line) then return number, "is not UTF-8" end
    if line:find("[%z\1-\8\11\12\14-\31\127]") then return number, "holds a control character" end
  end
  return nil
end

local function line_of(text, number)
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number - 1
    if number == 0 then return line end
  end
  return ""
end

-- libyaml's sentence: "did not find expected ',' or ']' at document: 1, line: 2, column: 2\nwhile ..."
local function translate(problem, text)
  local message = problem:match("^[^\n]*")
  local line = tonumber(message:match("line: (%d+)")) or 1
  if line_of(text, line):find("^ *\t") then
    return { line = line, text = "a tab cannot indent in YAML; use spaces" }
  end
  return { line = line, text = "not YAML: " .. message:gsub(" at document: .*$", "") }
end

-- The parser of the module `yaml` that lyaml stands on; another module of that name has none.
local function load_parser()
  local found, lyaml = pcall(require, "lyaml")
  local ok, c = pcall(require, "yaml")
  if found and ok and type(c) == "table" and type(c.parser) == "function" then return c.parser end
  local why = not found and lyaml or not ok and c or "its module 'yaml' is another one's"
  why = tostring(why):match("^[^\n]*"):gsub(":$", "")
  return nil, ("lyaml cannot be loaded (Debian's lua-yaml, or `luarocks install lyaml`): %s"):format(why)
end

---@class naq.YamlProblem
---@field line integer?
---@field text string

--- Parse one document.
---@param text string
---@return naq.YamlNode|false|nil root  false: nothing is in it; nil: it cannot be read
---@return naq.YamlProblem[] problems   what is wrong, though it may be readable: keys that stand twice
function yaml.parse(text)
  text = text:gsub("^\239\187\191", "")
  local line, wrong = unreadable_line(text)
  if line then return nil, { { line = line, text = wrong } } end
  local parser, message = load_parser()
  if not parser then return nil, { { text = message } } end
  local builder = setmetatable({ parse = parser(text), anchors = {}, problems = {}, line = 1 }, Builder)
  local ok, root = pcall(builder.document, builder)
  if ok then return root, builder.problems end
  if type(root) ~= "table" then root = translate(tostring(root), text) end
  return nil, { root }
end

return yaml
