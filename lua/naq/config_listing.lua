-- config_listing.lua -- a configuration as it may be shown: in order, secrets hidden; and the file to begin
-- with. Pure.
local keys = require("naq.config_keys")
local server_urls = require("naq.server_urls")

local listing = {}

local function public(k, value)
  if k.path ~= "nats.servers" then return k.secret and "***" or value end
  local urls = {}
  for i, url in ipairs(value) do
    urls[i] = server_urls.public(url, "***@")
  end
  return urls
end

---@class naq.ConfigLeaf
---@field path string
---@field key naq.ConfigKey
---@field value any      secrets as "***"
---@field source string

local function sorted_names(t)
  local names = {}
  for name in pairs(t) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Every key as a path of this configuration: one with a * for each queue that is configured.
local function paths_of(resolved)
  local queues, paths, by_queue = sorted_names(resolved.queues.configs), {}, {}
  local after -- where the queues' own keys begin
  for _, k in ipairs(keys.LIST) do
    if k.of_queue then
      after = after or #paths
      by_queue[#by_queue + 1] = k.of_queue
    else
      paths[#paths + 1] = k.path
    end
  end
  for _, queue in ipairs(queues) do
    for _, leaf in ipairs(by_queue) do
      after = after + 1
      table.insert(paths, after, ("queues.configs.%s.%s"):format(queue, leaf))
    end
  end
  return paths
end

--- What is set, in the order of the keys, fit to be printed.
---@param resolved naq.Config
---@return naq.ConfigLeaf[]
function listing.leaves(resolved)
  local leaves = {}
  for _, path in ipairs(paths_of(resolved)) do
    local value, k = resolved, keys.find(path)
    for _, part in ipairs(keys.parts(path)) do
      value = value and value[part]
    end
    if value ~= nil then
      leaves[#leaves + 1] =
        { path = path, key = k, value = public(k, value), source = resolved.sources[path] }
    end
  end
  return leaves
end

-- Values as YAML ---------------------------------------------------------------------------------

-- Text that YAML reads back as the same text. What could be a number, a truth or nothing is quoted.
local function scalar(value)
  if type(value) ~= "string" then return tostring(value) end
  local word = value:match("^[%w/.][%w_./:@-]*$") and not value:find(":$") and not tonumber(value)
  local special = { ["true"] = 1, ["false"] = 1, yes = 1, no = 1, on = 1, off = 1, null = 1 }
  if word and not special[value:lower()] then return value end
  if value:find("[%c]") then
    value = value:gsub('[\\"]', "\\%0"):gsub("%c", function(c) return ("\\x%02x"):format(c:byte()) end)
    return '"' .. value .. '"'
  end
  return "'" .. value:gsub("'", "''") .. "'"
end

--- A leaf's value as YAML in one line.
---@return string
function listing.yaml(value)
  if type(value) ~= "table" then return scalar(value) end
  local items = {}
  for i, item in ipairs(value) do
    items[i] = scalar(item)
  end
  return "[" .. table.concat(items, ", ") .. "]"
end

--- Lines of YAML out of leaves; decorate(leaf, line) may add to a leaf's line.
---@param leaves {path: string, value: any}[]
---@param decorate? fun(leaf: table, line: string): string
---@return string
function listing.document(leaves, decorate)
  local lines, open = {}, {}
  for _, leaf in ipairs(leaves) do
    local parts = keys.parts(leaf.path)
    for depth = 1, #parts - 1 do
      if open[depth] ~= parts[depth] then
        open[depth] = parts[depth]
        for deeper = depth + 1, #open do
          open[deeper] = nil
        end
        lines[#lines + 1] = ("  "):rep(depth - 1) .. parts[depth] .. ":"
      end
    end
    for deeper = #parts, #open do
      open[deeper] = nil
    end
    local line = ("%s%s: %s"):format(("  "):rep(#parts - 1), parts[#parts], listing.yaml(leaf.value))
    lines[#lines + 1] = decorate and decorate(leaf, line) or line
  end
  return table.concat(lines, "\n")
end

-- The file to begin with -------------------------------------------------------------------------

local HEAD = [[
# naq.yaml: the configuration of naq. `naq config validate` checks it, `naq config show --sources` says
# which value comes from where.
#
# What stands here goes before the built-in defaults; environment variables NAQ_<SECTION>_<KEY> and options
# in code or on the command line go before this file. ${VAR} and ${VAR:default} are replaced from the
# environment. Lines that begin with # are what could be set, and what holds without it.
]]

local TAIL = [[

# A queue's own settings, by its name:
#   queues:
#     configs:
#       mail:
#         ack_wait: 60

# What holds in one environment only; NAQ_ENVIRONMENT=production chooses it.
# environments:
#   production:
#     nats:
#       servers: [nats://nats-1:4222, nats://nats-2:4222, nats://nats-3:4222]
#       password: ${NATS_PASSWORD}
]]

--- What a key is for: its text, what holds without it, who uses it.
---@param k naq.ConfigKey
---@return string
function listing.describe(k)
  local text = k.doc
  if k.one_of then text = ("%s; one of %s"):format(text, table.concat(k.one_of, ", ")) end
  if k.computed then text = ("%s (%s)"):format(text, k.computed) end
  if k.later then text = ("%s; for %s, not in this version"):format(text, k.later) end
  return text
end

--- A commented configuration file with the defaults.
---@return string
function listing.template()
  local lines, open = { HEAD:sub(1, -2) }, {}
  for _, k in ipairs(keys.LIST) do
    if not k.path:find("*", 1, true) then
      local depth = 0
      for part in k.path:gmatch("([^.]+)%.") do
        depth = depth + 1
        if open[depth] ~= part then
          open[depth], open[depth + 1] = part, nil
          if depth == 1 then lines[#lines + 1] = "" end
          lines[#lines + 1] = ("  "):rep(depth - 1) .. part .. ":"
        end
      end
      local indent, name = ("  "):rep(depth), k.path:match("[^.]+$")
      lines[#lines + 1] = ("%s# %s"):format(indent, listing.describe(k))
      if k.default ~= nil then
        lines[#lines + 1] = ("%s%s: %s"):format(indent, name, listing.yaml(k.default))
      else
        lines[#lines + 1] = ("%s# %s:"):format(indent, name)
      end
    end
  end
  return table.concat(lines, "\n") .. "\n" .. TAIL
end

return listing
