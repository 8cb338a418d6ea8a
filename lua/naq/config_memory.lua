-- config_memory.lua -- configurations that were resolved before, for those who connect again and again.
--
-- Options are told from each other by what is in them, and what is remembered is forgotten as soon as the
-- environment or the file changes: nobody is handed anything stale. A hundredth of the price of resolving.
local config = require("naq.config")
local config_file = require("naq.config_file")
local core = require("naq.core")

local memory = {}

local MOST = 32 -- sets of options
local remembered, count = {}, 0

-- Writes options so that no two sets look alike; false for what is no option in any case.
local function write(value, out)
  local kind = type(value)
  if kind == "table" then
    out[#out + 1] = "{"
    for k, v in pairs(value) do
      if not (write(k, out) and write(v, out)) then return false end
    end
    out[#out + 1] = "}"
  elseif kind == "string" then
    out[#out + 1] = ("%d:%s"):format(#value, value)
  elseif kind == "number" then
    out[#out + 1] = ("#%.17g"):format(value)
  elseif kind == "boolean" or kind == "nil" then
    out[#out + 1] = tostring(value) .. ";"
  else
    return false
  end
  return #out < 1000 -- and no table that contains itself
end

local function key_of(given)
  local out = {}
  return write(given, out) and table.concat(out, ",") or nil
end

-- Where the file would be read from; nothing when none is wanted.
local function places(given)
  local named = type(given) == "table" and given.config
  if named == nil or type(given) ~= "table" then
    named = os.getenv("NAQ_CONFIG")
    if named == "" then named = nil end
  elseif type(named) ~= "string" then
    return {}
  end
  return config_file.places(named, os.getenv)
end

--- config.resolve(), or what it answered to the same. The answer is shared: not to be changed.
---@param given table?
---@param level integer?  1
---@return naq.Config? config, string? message, naq.Code? code
function memory.resolve(given, level)
  local key = key_of(given)
  local mark = key and core.surroundings(places(given)) -- before reading: what changes meanwhile is seen
  local found = remembered[key or false]
  if found and found.mark == mark then return found.resolved end
  local resolved, message, code = config.resolve(given, (level or 1) + 1)
  if not resolved then return nil, message, code end
  if mark then
    if not found then count = count + 1 end
    if count > MOST then
      remembered, count = {}, 1
    end
    remembered[key] = { mark = mark, resolved = resolved }
  end
  return resolved
end

return memory
