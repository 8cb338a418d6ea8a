-- config_keys.lua -- finding one's way in the table of keys: by path, by option, by section. Pure.
local config_table = require("naq.config_table")
local options = require("naq.options")

local keys = {}

--- In the order in which a listing shows them.
---@type naq.ConfigKey[]
keys.LIST = config_table

local BY_PATH, SECTIONS = {}, {}
--- Flat options: name -> path of a key or of a section.
local FLAT = { tls = "nats.tls", queue_configs = "queues.configs" }

--- The names of the sections at the top, in order.
---@type string[]
keys.SECTIONS = {}

for _, k in ipairs(config_table) do
  BY_PATH[k.path] = k
  k.of_queue = k.path:match("^queues%.configs%.%*%.(.+)$")
  if k.flat then FLAT[k.flat] = k.path end
  local names = { "NAQ_" .. k.path:upper():gsub("[.]", "_") }
  for _, name in ipairs(k.env or {}) do
    if name ~= names[1] then names[#names + 1] = name end
  end
  k.env = names
  local section = k.path:match("^(.*)%.[^.]+$")
  local top = k.path:match("^[^.]+")
  if not SECTIONS[top] then keys.SECTIONS[#keys.SECTIONS + 1] = top end
  while section do
    SECTIONS[section] = true
    section = section:match("^(.*)%.[^.]+$")
  end
end

-- queues.configs.mail.ack_wait -> queues.configs.*.ack_wait
local function general(path) return (path:gsub("^queues%.configs%.[^.]+", "queues.configs.*")) end

--- The key of that path, nil for a section and for what does not exist.
---@return naq.ConfigKey?
function keys.find(path) return BY_PATH[path] or BY_PATH[general(path)] end

---@return boolean
function keys.is_section(path) return SECTIONS[general(path)] == true end

local function split(path)
  local parts = {}
  for part in path:gmatch("[^.]+") do
    parts[#parts + 1] = part
  end
  return parts
end

local PARTS = {}
for path in pairs(BY_PATH) do
  PARTS[path] = split(path)
end

--- "nats.tls.ca_file" as { "nats", "tls", "ca_file" }. Not to be changed.
---@return string[]
function keys.parts(path) return PARTS[path] or split(path) end

--- The name of a queue, where the path is a section of one; nil elsewhere.
---@return string?
function keys.queue_of(path) return path:match("^queues%.configs%.([^.]+)$") end

--- What is wrong with a value for that key, or nil. Says nothing of a secret.
---@param k naq.ConfigKey
function keys.problem(k, value)
  local problem = options.problem(k, value)
  if problem and k.secret then problem = problem:gsub(", not .*", "") end
  return problem
end

--- The names that may stand in a section ("" for the top), with anything as their values.
---@return table<string, true>
function keys.names_in(section)
  local names, depth = {}, section == "" and 0 or #general(section) + 1
  for _, k in ipairs(config_table) do
    if depth == 0 or k.path:sub(1, depth) == general(section) .. "." then
      names[k.path:sub(depth + 1):match("^[^.]+")] = true
    end
  end
  return names
end

--- The path that a flat option stands for.
---@return string?
function keys.path_of_option(name) return FLAT[name] end

--- All names of options: flat ones and sections, with their declarations where they are keys: for "did
--- you mean".
---@return table<string, table>
function keys.options()
  local names = { config = {} }
  for name, path in pairs(FLAT) do
    names[name] = BY_PATH[path] or {}
  end
  for _, name in ipairs(keys.SECTIONS) do
    names[name] = {}
  end
  return names
end

--- The full path of the one key whose last part is name: servers -> nats.servers. nil where none or
--- several have it.
---@return string?
function keys.path_ending_in(name)
  local found
  for _, k in ipairs(config_table) do
    if k.path:match("[^.]+$") == name then
      if found then return nil end
      found = k.path
    end
  end
  return found
end

return keys
