-- config_file.lua -- the configuration file: found, read, its keys checked and its values typed, each
-- problem with its line.
--
-- What stands under `environments` is a configuration of its own, laid over the rest when NAQ_ENVIRONMENT
-- names it. ${VAR} and ${VAR:default} are replaced only in what is used, so that a machine for development
-- needs no variables of production.
local id_rule = require("naq.id_rule")
local keys = require("naq.config_keys")
local options = require("naq.options")
local quantity = require("naq.quantity")
local yaml = require("naq.yaml")

local config_file = {}

---@class naq.ConfigProblem
---@field file string?
---@field line integer?
---@field message string

local MOST_BYTES = 1048576
local ENOENT, ENOTDIR = 2, 20

--- The text of a file; nil and no message where there is none.
---@return string? text, string? message
local function read(path)
  local f, message, number = io.open(path, "rb")
  local reason = message and message:gsub("^.*: ", "")
  if not f then
    if number == ENOENT or number == ENOTDIR then return nil end
    return nil, "cannot be read: " .. reason
  end
  local text
  text, message = f:read(MOST_BYTES + 1)
  f:close()
  if not text and message then return nil, "cannot be read: " .. message end
  if text and #text > MOST_BYTES then return nil, "is larger than 1 MB" end
  return text or ""
end

--- Where the configuration file may be, in this order.
---@param named string?
---@param getenv fun(name: string): string?
---@return string[]
function config_file.places(named, getenv)
  if named then return { named } end
  local places = { "./naq.yaml" }
  local home = getenv("HOME")
  if home and home ~= "" then places[2] = home .. "/.naq/config.yaml" end
  places[#places + 1] = "/etc/naq/config.yaml"
  return places
end

--- The configuration file: the one that is named, else the first that exists.
---@param named string?
---@param getenv fun(name: string): string?
---@return string? path, string? text, string? message  all nil where there is none
function config_file.find(named, getenv)
  if named then
    local text, message = read(named)
    if not text then return named, nil, message or "there is no such file" end
    return named, text
  end
  for _, path in ipairs(config_file.places(nil, getenv)) do
    local text, message = read(path)
    if text or message then return path, text, message end
  end
  return nil
end

---@class naq.ConfigReader
---@field file string
---@field getenv fun(name: string): string?
---@field values table<string, any>      path -> value
---@field sources table<string, string>  path -> "file naq.yaml:12"
---@field problems naq.ConfigProblem[]
---@field dormant boolean  reading an environment that was not chosen
local Reader = {}
Reader.__index = Reader

function Reader:bad(line, ...)
  local message = string.format(...)
  self.problems[#self.problems + 1] = { file = self.file, line = line, message = message }
end

--- ${VAR} and ${VAR:default} in a text; $${ stands for ${ itself.
---@return string? text  nil when a variable is missing
---@return boolean replaced
function Reader:replace(node, line, path)
  local text, at, out, replaced = node.text, 1, {}, false
  while true do
    local dollar = text:find("${", at, true)
    if not dollar then break end
    if text:sub(dollar - 1, dollar - 1) == "$" then
      out[#out + 1] = text:sub(at, dollar - 2) .. "${"
      at = dollar + 2
    else
      local name, default, stop = text:match("^([%a_][%w_]*)(:?[^}]*)}()", dollar + 2)
      if not name or (default ~= "" and default:sub(1, 1) ~= ":") then
        self:bad(line, "%s: '${' begins no variable; write ${NAME}, ${NAME:default}, or $${", path)
        return nil, true
      end
      local value = self.getenv(name)
      if default ~= "" and (value == nil or value == "") then value = default:sub(2) end
      if value == nil then
        if not self.dormant then
          self:bad(line, "%s: there is no environment variable %s, and no default", path, name)
        end
        return nil, true
      end
      out[#out + 1] = text:sub(at, dollar - 1) .. value
      at, replaced = stop, true
    end
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out), replaced
end

-- A scalar as the key's type. Quoted text is a string whatever it looks like, unless a variable stood in it.
---@return any value  nil: not set, or a problem was reported
function Reader:scalar(k, node, line, path)
  if yaml.is_null(node) then return nil end
  local text, replaced = self:replace(node, line, path)
  if not text or (replaced and text == "") then return nil end
  if not (node.plain or replaced) then return text end
  local value = quantity.from_text(k.type, text)
  if type(value) == "string" and node.plain and not replaced and (text == "true" or text == "false") then
    return text == "true" -- `client_name: true` is no string; `token: 12345` is one
  end
  return value
end

-- An item of a list as its type: numbers where the list is one of them.
local function item_of(declared, text)
  if type(declared) ~= "table" then declared = { declared } end
  for _, name in ipairs(declared) do
    if name == "numbers" then return tonumber(text) or text end
  end
  return text
end

function Reader:list(k, node, path)
  local value, whole = {}, true
  for i, item in ipairs(node.items) do
    if item.kind ~= "scalar" or yaml.is_null(item) then
      self:bad(item.line, "%s: item %d must be a single value", path, i)
      whole = false
    else
      local text = self:replace(item, item.line, path)
      whole = whole and text ~= nil
      value[i] = text and item_of(k.type, text)
    end
  end
  if not whole then return nil end
  return value
end

function Reader:leaf(k, entry, path)
  local node, value = entry.value, nil
  if node.kind == "map" then
    self:bad(entry.line, "%s: is a value, not a section", path)
  elseif node.kind == "list" then
    value = self:list(k, node, path)
  else
    value = self:scalar(k, node, entry.line, path)
  end
  if value == nil then return end
  local problem = keys.problem(k, value)
  if problem then
    self:bad(entry.line, "%s: %s", path, problem)
  elseif not self.dormant then
    self.values[path] = value
    self.sources[path] = ("file %s:%d%s"):format(self.file, entry.line, self.where)
  end
end

function Reader:unknown(entry, path, section)
  local hint = options.nearest(keys.names_in(section), entry.key)
  hint = hint and (section == "" and hint or section .. "." .. hint) or keys.path_ending_in(entry.key)
  self:bad(entry.line, "unknown key '%s'%s", path, hint and (" (did you mean '%s'?)"):format(hint) or "")
end

--- A mapping whose keys stand below `section` ("" for the top), named in that line.
function Reader:section(node, line, section)
  if yaml.is_null(node) then return end
  if node.kind ~= "map" then
    local what = node.kind == "list" and "a list" or "a value"
    local must = section == "" and "the file must hold sections" or section .. ": must be a section"
    return self:bad(line, "%s, not %s", must, what)
  end
  for _, entry in ipairs(node.entries) do
    local path = section == "" and entry.key or section .. "." .. entry.key
    local k = keys.find(path)
    if k then
      self:leaf(k, entry, path)
    elseif section == "queues.configs" and id_rule.problem(entry.key) then
      self:bad(entry.line, "queues.configs: a queue's name %s", id_rule.problem(entry.key))
    elseif keys.is_section(path) then
      self:section(entry.value, entry.line, path)
    elseif not (section == "" and entry.key == "environments" and self.where == "") then
      self:unknown(entry, path, section)
    end
  end
end

local function entry_of(node, name)
  for _, entry in ipairs(node and node.kind == "map" and node.entries or {}) do
    if entry.key == name then return entry end
  end
  return nil
end

-- All environments are checked, the chosen one is laid over the rest.
function Reader:environments(root, chosen)
  local entry = entry_of(root, "environments")
  local names = {}
  if entry and not yaml.is_null(entry.value) then
    if entry.value.kind ~= "map" then
      return self:bad(entry.line, "environments: must be a section with one for each environment")
    end
    for _, environment in ipairs(entry.value.entries) do
      names[#names + 1] = environment.key
      self.dormant = environment.key ~= chosen
      self.where = (" (%s)"):format(environment.key)
      self:section(environment.value, environment.line, "")
      self.dormant, self.where = false, ""
    end
  end
  if chosen and not entry_of(entry and entry.value, chosen) then
    local known = #names > 0 and "has " .. table.concat(names, ", ") or "has no environments"
    self:bad(entry and entry.line, "NAQ_ENVIRONMENT is '%s', and this file %s", chosen, known)
  end
end

-- The same file is read again with each connection; its tree is not made again. Nobody changes trees.
local last = {}

local function parse(text)
  if last.text ~= text then
    local root, wrong = yaml.parse(text)
    if root == nil then return root, wrong end
    last = { text = text, root = root, wrong = wrong }
  end
  return last.root, last.wrong
end

--- Read the text of a configuration file.
---@param file string    its name, for messages
---@param text string
---@param getenv fun(name: string): string?
---@return table<string, any> values, table<string, string> sources, naq.ConfigProblem[] problems
function config_file.read(file, text, getenv)
  local self = setmetatable({
    file = file,
    getenv = getenv,
    values = {},
    sources = {},
    problems = {},
    dormant = false,
    where = "",
  }, Reader)
  local chosen = getenv("NAQ_ENVIRONMENT")
  if chosen == "" then chosen = nil end
  local root, wrong = parse(text)
  for _, problem in ipairs(wrong) do
    self:bad(problem.line, "%s", problem.text)
  end
  if root then self:section(root, root.line, "") end
  if root ~= nil then self:environments(root, chosen) end
  table.sort(self.problems, function(a, b) return (a.line or 0) < (b.line or 0) end)
  return self.values, self.sources, self.problems
end

--- "naq.yaml:12: unknown key ..."
---@param problem naq.ConfigProblem
---@return string
function config_file.sentence(problem)
  local place = problem.file and problem.file .. (problem.line and ":" .. problem.line or "") .. ": " or ""
  return place .. problem.message
end

return config_file
