-- options.lua -- options checked against a declaration. The declaration is the check, the defaults and
-- the documentation at once:
--
--   local DECLARATION = {
--     priority = { type = "string", one_of = { "high", "normal", "low" }, doc = "..." },
--     max_retries = { type = "integer", min = 0, default = 3, doc = "..." },
--     delay = { type = "number", min = 0, unsupported = true, doc = "..." },
--   }
--
-- type is a name of TYPES below or a list of them; min and max bound numbers (each of a list);
-- check(value) returns what is wrong, or nil. An option marked unsupported is known, so that it is
-- told apart from a misspelt one, and refused with UNSUPPORTED. Pure; any thread.
local errors = require("naq.errors")

local options = {}

---@class naq.OptionDeclaration
---@field type string|string[]
---@field default any
---@field one_of string[]?
---@field min number?
---@field max number?
---@field check (fun(value: any): string?)?
---@field unsupported boolean?
---@field doc string?

local HUGE = math.huge

local function is_number(v) return type(v) == "number" and v == v and v < HUGE and v > -HUGE end

local function is_list_of(v, is)
  if type(v) ~= "table" then return false end
  local n = 0
  for _ in pairs(v) do
    n = n + 1
  end
  for i = 1, n do
    if v[i] == nil or not is(v[i]) then return false end
  end
  return true
end

local TYPES = {
  number = { is = is_number, text = "a number" },
  integer = { is = function(v) return is_number(v) and v % 1 == 0 end, text = "a whole number" },
  string = { is = function(v) return type(v) == "string" end, text = "a string" },
  boolean = { is = function(v) return type(v) == "boolean" end, text = "true or false" },
  ["function"] = { is = function(v) return type(v) == "function" end, text = "a function" },
  table = { is = function(v) return type(v) == "table" end, text = "a table" },
  strings = {
    is = function(v)
      return is_list_of(v, function(item) return type(item) == "string" end)
    end,
    text = "a list of strings",
  },
  numbers = { is = function(v) return is_list_of(v, is_number) end, text = "a list of numbers" },
}

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  return "a " .. type(value)
end

local function matches(declared, value)
  if type(declared) == "string" then return TYPES[declared].is(value) end
  for i = 1, #declared do
    if TYPES[declared[i]].is(value) then return true end
  end
  return false
end

local function type_text(declared)
  if type(declared) == "string" then return TYPES[declared].text end
  local texts = {}
  for i = 1, #declared do
    texts[i] = TYPES[declared[i]].text
  end
  return table.concat(texts, " or ")
end

local function out_of_range(declared, value)
  if type(value) == "table" then
    for i = 1, #value do
      local wrong = out_of_range(declared, value[i])
      if wrong then return wrong end
    end
  elseif type(value) == "number" then
    if declared.min and value < declared.min then
      return ("must be at least %s, not %s"):format(declared.min, value)
    end
    if declared.max and value > declared.max then
      return ("must be at most %s, not %s"):format(declared.max, value)
    end
  end
  return nil
end

--- What is wrong with a value under one entry of a declaration: "must be ...", or nil.
---@param declared naq.OptionDeclaration
---@return string? problem
function options.problem(declared, value)
  if not matches(declared.type, value) then
    return ("must be %s, not %s"):format(type_text(declared.type), shown(value))
  end
  if declared.one_of then
    for i = 1, #declared.one_of do
      if declared.one_of[i] == value then return nil end
    end
    return ("must be one of %s, not %s"):format(table.concat(declared.one_of, ", "), shown(value))
  end
  if declared.min or declared.max then
    local wrong = out_of_range(declared, value)
    if wrong then return wrong end
  end
  return declared.check and declared.check(value) or nil
end

-- Optimal string alignment distance, given up beyond 2.
local function distance(a, b)
  if math.abs(#a - #b) > 2 then return 3 end
  local before, row = {}, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local two_before = before
    before, row = row, { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], two_before[j - 2] + 1)
      end
    end
  end
  return row[#b]
end

-- The one name that begins with what was typed: ca -> ca_file.
local function completion(declaration, name)
  local found
  for known in pairs(declaration) do
    if #name > 1 and type(known) == "string" and known:sub(1, #name) == name then
      if found then return nil end
      found = known
    end
  end
  return found
end

--- The known name that was meant, or nil when none is near.
---@param declaration table<string, any>
---@return string?
function options.nearest(declaration, name)
  if type(name) ~= "string" then return nil end
  local best, nearest = 3, nil
  for known in pairs(declaration) do
    local d = distance(name, known)
    if d < best or (d == best and nearest and known < nearest) then
      best, nearest = d, known
    end
  end
  return nearest or completion(declaration, name)
end

--- "unknown option 'prioritty' (did you mean 'priority'?)"
---@param declaration table<string, any>
---@return string
function options.unknown(declaration, name)
  local text = ("unknown option '%s'"):format(tostring(name))
  local nearest = options.nearest(declaration, name)
  return nearest and ("%s (did you mean '%s'?)"):format(text, nearest) or text
end

-- declaration -> the part of it that has defaults, or false; found once.
local defaults_of = setmetatable({}, { __mode = "k" })

local function find_defaults(declaration)
  local defaults = false
  for name, declared in pairs(declaration) do
    if declared.default ~= nil then
      defaults = defaults or {}
      defaults[name] = declared.default
    end
  end
  defaults_of[declaration] = defaults
  return defaults
end

local NOTHING = {}

--- Check options and fill in the defaults. The result may be the caller's own table: read only.
--- An unknown or mistyped option raises at `level`, counted from the function that calls this one: 1 is
--- that function, 2 its caller.
---@param declaration table<string, naq.OptionDeclaration>
---@param given table?
---@param level integer
---@return table? options, string? message, naq.Code? code  UNSUPPORTED
function options.apply(declaration, given, level)
  if given == nil then
    given = NOTHING
  elseif type(given) ~= "table" then
    error("options must be a table, not " .. shown(given), level + 1)
  end
  local unsupported
  for name, value in pairs(given) do
    local declared = declaration[name]
    if declared == nil then error(options.unknown(declaration, name), level + 1) end
    local problem = options.problem(declared, value)
    if problem then error(("option '%s' %s"):format(name, problem), level + 1) end
    if declared.unsupported then unsupported = name end
  end
  if unsupported then
    return nil, ("option '%s' is not supported by this version"):format(unsupported), errors.UNSUPPORTED
  end
  local defaults = defaults_of[declaration]
  if defaults == nil then defaults = find_defaults(declaration) end
  if not defaults then return given end
  local filled = {}
  for name, value in pairs(defaults) do
    filled[name] = value
  end
  for name, value in pairs(given) do
    filled[name] = value
  end
  return filled
end

return options
