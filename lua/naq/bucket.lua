-- bucket.lua -- key-value buckets as a whole: opened or created, compared, described, deleted.
--
-- A bucket is a stream as every NATS client's key-value API makes it. What a bucket holds is kv.lua's.
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")

local bucket = {}

local NANOSECONDS = 1e9
local DUPLICATES_SECONDS = 120
local OVERLAP = 10065 -- its subjects are another stream's: perhaps of one that is being made
local LOOKS, LOOK_SECONDS = 20, 0.05 -- at a bucket that somebody else is making

local function stream_of(name) return "KV_" .. name end

--- What is wrong with a bucket's name, or nil.
function bucket.problem(name)
  if #name >= 1 and #name <= 96 and not name:find("[^%w_-]") then return nil end
  return ("%q is no bucket name: 1 to 96 of A-Za-z0-9_-"):format(name)
end

-- How an option stands in the stream's settings. write: from the option; read: back.
local function or_unlimited(n) return n or -1 end
local function limit(n)
  n = tonumber(n) -- before Lua 5.3 what is over 2^53 comes as digits
  return n and n > 0 and n or nil
end
local function seconds(ns)
  ns = limit(ns)
  local s = ns and ns / NANOSECONDS
  return s and s % 1 == 0 and math.floor(s) or s -- on 5.4 a whole number
end
local SETTINGS = {
  history = { "max_msgs_per_subject" },
  ttl = { "max_age", write = function() end, read = seconds }, -- written by request()
  max_bytes = { "max_bytes", write = or_unlimited, read = limit },
  max_value_size = { "max_msg_size", write = or_unlimited, read = limit },
  storage = { "storage" },
  replicas = { "num_replicas" },
  description = { "description" },
}

-- As with naq's own buckets: three where a cluster has the servers for it. Or nil, message, code.
local function usual_replicas(conn)
  local info, message, code = conn:info()
  if not info then return nil, message, code end
  return info.cluster_size >= 3 and 3 or 1
end

local function request(conn, name, options)
  local config = {
    name = stream_of(name),
    subjects = { ("$KV.%s.>"):format(name) },
    retention = "limits",
    discard = "new",
    max_msgs = -1,
    max_consumers = -1,
    allow_direct = true,
    allow_rollup_hdrs = true,
    deny_delete = true,
  }
  for option, how in pairs(SETTINGS) do
    local value = options[option]
    if how.write then value = how.write(value) end
    config[how[1]] = value
  end
  local text, message, code
  if not config.num_replicas then
    config.num_replicas, message, code = usual_replicas(conn)
    if not config.num_replicas then return nil, message, code end
  end
  text, message, code = core.encode(config)
  if not text then return nil, message, code end
  -- Nanoseconds of more than 104 days are no exact numbers before Lua 5.3.
  local ttl = options.ttl or 0
  local window = ttl > 0 and math.min(ttl, DUPLICATES_SECONDS) or DUPLICATES_SECONDS
  local times = (',"max_age":%.0f,"duplicate_window":%.0f}'):format(ttl * NANOSECONDS, window * NANOSECONDS)
  return text:sub(1, -2) .. times
end

-- Seconds that went through nanoseconds come back a little different.
local function same(found, wanted)
  if type(found) == "number" and type(wanted) == "number" then return math.abs(found - wanted) < 1e-6 end
  return found == wanted
end

-- "ttl: 60 found, 30 wanted" for each option that was given and that the bucket has otherwise.
local function differences(config, given)
  local list = {}
  for option, how in pairs(SETTINGS) do
    local found, wanted = config[how[1]], given[option]
    if how.read then found = how.read(found) end
    if wanted ~= nil and not same(found, wanted) then
      list[#list + 1] = ("%s: %s found, %s wanted"):format(
        option,
        found == nil and "none" or tostring(found),
        tostring(wanted)
      )
    end
  end
  table.sort(list)
  return #list > 0 and list or nil
end

local function not_there(name) return ("bucket %s does not exist"):format(name) end

--- STREAM.INFO of a bucket.
---@param conn naq.CoreConn
---@return table? info, string? message, naq.Code? code  CONFIGURATION when there is no such bucket
function bucket.info(conn, name)
  local info, message, code = jetstream_api.call(conn, "STREAM.INFO", stream_of(name))
  if info then return info end
  if code == errors.KEY_NOT_FOUND then return nil, not_there(name), errors.CONFIGURATION, true end
  return nil, message, code
end

local function create(conn, name, options)
  local body, message, code = request(conn, name, options)
  if not body then return nil, message, code end
  local info, err_code
  info, message, code, err_code = jetstream_api.call(conn, "STREAM.CREATE", stream_of(name), body)
  if info then return info end
  if code ~= errors.CONFIGURATION then return nil, message, code end
  -- Refused: by its settings, or because somebody else is making it, whose settings then count.
  for _ = 1, LOOKS do
    local theirs, why, kind, missing = bucket.info(conn, name)
    if theirs then return theirs, nil, nil, true end
    if not missing then return nil, why, kind end
    if err_code ~= jetstream_api.STREAM_EXISTS and err_code ~= OVERLAP then break end
    core.sleep(LOOK_SECONDS)
  end
  return nil, ("bucket %s: %s"):format(name, message), code
end

--- Open a bucket, or create it where it is missing.
---@param conn naq.CoreConn
---@param given table  the options as they were given: only these are compared
---@param options table  the same with defaults, for a bucket that is created; create = false: never
---@return table? info, string[]|string|nil differs_or_message, naq.Code? code
function bucket.ensure(conn, name, given, options)
  local info, message, code, missing = bucket.info(conn, name)
  local existed = info ~= nil
  if not info then
    if not missing or options.create == false then return nil, message, code end
    info, message, code, existed = create(conn, name, options)
    if not info then return nil, message, code end
  end
  return info, existed and differences(info.config, given) or nil
end

--- What a bucket is and holds.
---@class naq.KVStatus
---@field bucket string
---@field values integer       entries of all keys, their history and the marks of deletions included
---@field keys integer         keys, deleted ones that left a mark included
---@field bytes integer
---@field history integer      revisions kept of a key
---@field ttl number?          seconds
---@field max_bytes integer?
---@field max_value_size integer?
---@field storage "file"|"memory"
---@field replicas integer
---@field description string?
---@param info table  STREAM.INFO
---@return naq.KVStatus
function bucket.status(name, info)
  local status = {
    bucket = name,
    values = info.state.messages,
    keys = info.state.num_subjects or 0,
    bytes = info.state.bytes,
  }
  for option, how in pairs(SETTINGS) do
    local value = info.config[how[1]]
    if how.read then value = how.read(value) end
    status[option] = value
  end
  return status
end

--- Delete a bucket with all it holds.
---@param conn naq.CoreConn
---@return true? done, string? message, naq.Code? code  CONFIGURATION when there is no such bucket
function bucket.delete(conn, name)
  local done, message, code = jetstream_api.call(conn, "STREAM.DELETE", stream_of(name))
  if done then return true end
  if code == errors.KEY_NOT_FOUND then return nil, not_there(name), errors.CONFIGURATION end
  return nil, message, code
end

--- The names of all buckets, sorted.
---@param conn naq.CoreConn
---@return string[]? names, string? message, naq.Code? code
function bucket.list(conn)
  local names, offset = {}, 0
  repeat
    local body = { subject = "$KV.>", offset = offset }
    local page, message, code = jetstream_api.call(conn, "STREAM.NAMES", nil, body)
    if not page then return nil, message, code end
    local streams = page.streams or {}
    for i = 1, #streams do
      names[#names + 1] = streams[i]:match("^KV_(.+)$")
    end
    offset = offset + #streams
  until #streams == 0 or offset >= page.total
  table.sort(names)
  return names
end

return bucket
