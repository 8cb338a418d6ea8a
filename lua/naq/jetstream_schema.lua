-- jetstream_schema.lua -- the settings of streams and consumers: their names as JetStream's API has them,
-- their types, and how they travel. In Lua every duration and time is in seconds; on the wire durations are
-- nanoseconds and times RFC 3339.
local core = require("naq.core")
local errors = require("naq.errors")
local options = require("naq.options")

local schema = {}

-- duration: seconds here, nanoseconds there. time: epoch seconds here, text there. since: the first server
-- that knows it; an older one would drop it without a word.
local DURATION = { type = "number", min = 0, duration = true }
local DURATIONS = { type = "numbers", min = 0, durations = true }
local TIME = { type = { "number", "string" }, time = true }
local INTEGER = { type = "integer" }
local BOOLEAN = { type = "boolean" }
local STRING = { type = "string" }
local STRINGS = { type = "strings" }
local TABLE = { type = "table" }

local function since(version, declared)
  local copy = { since = version }
  for k, v in pairs(declared) do
    copy[k] = v
  end
  return copy
end

local function one_of(...) return { type = "string", one_of = { ... } } end

--- A stream's configuration.
schema.STREAM = {
  name = STRING,
  description = STRING,
  subjects = STRINGS,
  retention = one_of("limits", "interest", "workqueue"),
  storage = one_of("file", "memory"),
  discard = one_of("old", "new"),
  discard_new_per_subject = BOOLEAN,
  max_msgs = INTEGER,
  max_msgs_per_subject = INTEGER,
  max_bytes = INTEGER,
  max_age = DURATION,
  max_msg_size = INTEGER,
  max_consumers = INTEGER,
  num_replicas = { type = "integer", min = 1, max = 5 },
  duplicate_window = DURATION,
  no_ack = BOOLEAN,
  sealed = BOOLEAN,
  deny_delete = BOOLEAN,
  deny_purge = BOOLEAN,
  allow_rollup_hdrs = BOOLEAN,
  allow_direct = BOOLEAN,
  mirror_direct = BOOLEAN,
  placement = TABLE,
  mirror = TABLE,
  sources = TABLE,
  republish = TABLE,
  metadata = since("2.10.0", TABLE),
  compression = since("2.10.0", one_of("none", "s2")),
  first_seq = since("2.10.0", INTEGER),
  subject_transform = since("2.10.0", TABLE),
  consumer_limits = since("2.10.0", TABLE),
  allow_msg_ttl = since("2.11.0", BOOLEAN),
  subject_delete_marker_ttl = since("2.11.0", DURATION),
}

--- A consumer's configuration.
schema.CONSUMER = {
  name = STRING,
  durable_name = STRING,
  description = STRING,
  deliver_policy = one_of("all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"),
  opt_start_seq = INTEGER,
  opt_start_time = TIME,
  ack_policy = one_of("explicit", "all", "none"),
  ack_wait = DURATION,
  max_deliver = INTEGER,
  backoff = DURATIONS,
  filter_subject = STRING,
  replay_policy = one_of("instant", "original"),
  rate_limit_bps = INTEGER,
  sample_freq = STRING,
  max_waiting = INTEGER,
  max_ack_pending = INTEGER,
  headers_only = BOOLEAN,
  max_batch = INTEGER,
  max_bytes = INTEGER,
  max_expires = DURATION,
  inactive_threshold = DURATION,
  num_replicas = { type = "integer", min = 0, max = 5 },
  mem_storage = BOOLEAN,
  deliver_subject = STRING,
  deliver_group = STRING,
  flow_control = BOOLEAN,
  idle_heartbeat = DURATION,
  filter_subjects = since("2.10.0", STRINGS),
  metadata = since("2.10.0", TABLE),
  pause_until = since("2.11.0", TIME),
}

-- Written by hand: Lua 5.1 has no integers to hand to the codec, and the server takes no "5.0".
local function integer(n) return ("%d"):format(n) end

local function nanoseconds(seconds) return ("%d"):format(math.floor(seconds * 1e9 + 0.5)) end

local function time_text(at)
  if type(at) == "string" then return at end
  local whole = math.floor(at)
  return os.date("!%Y-%m-%dT%H:%M:%S", whole) .. (".%06dZ"):format(math.floor((at - whole) * 1e6))
end

local function encode_value(declared, value)
  if not declared then return core.encode(value) end -- of a newer server, on its way back to it
  if declared.duration then return nanoseconds(value) end
  if declared.durations then
    local list = {}
    for i = 1, #value do
      list[i] = nanoseconds(value[i])
    end
    return "[" .. table.concat(list, ",") .. "]"
  end
  if declared.time then return core.encode(time_text(value)) end
  if declared.type == "integer" then return integer(value) end
  if declared.type == "strings" then value = core.array(value) end
  return core.encode(value)
end

--- A configuration that was checked, as JSON.
---@param declaration table
---@param config table
---@return string? json, string? message, naq.Code? code  SERIALIZATION
function schema.encode(declaration, config)
  local members = {}
  for name, value in pairs(config) do
    local text, message, code = encode_value(declaration[name], value)
    if not text then return nil, message, code end
    members[#members + 1] = ('"%s":%s'):format(name, text)
  end
  table.sort(members)
  return "{" .. table.concat(members, ",") .. "}"
end

local function version_number(text)
  local a, b, c = (text or ""):match("^v?(%d+)%.(%d+)%.(%d+)")
  return a and a * 1000000 + b * 1000 + c
end

--- Whether a server's version is below another; false where it is not known.
function schema.older(version, than)
  local have = version_number(version)
  return have ~= nil and have < version_number(than)
end

--- Options checked against a declaration, and against what the server knows: it would drop the others without
--- a word.
---@param conn naq.CoreConn
---@return table? config, string? message, naq.Code? code  UNSUPPORTED
function schema.configuration(conn, declaration, given, level)
  local config = options.apply(declaration, given, level + 1)
  for name in pairs(config) do
    local first = declaration[name].since
    if first then
      local info, message, code = conn:info()
      if not info then return nil, message, code end
      if schema.older(info.version, first) then
        return nil, ("option '%s' needs nats-server %s, this is %s"):format(name, first, info.version),
          errors.UNSUPPORTED
      end
    end
  end
  return config
end

--- A copy of config, with what extra has and it does not.
function schema.with(config, extra)
  local merged = {}
  for name, value in pairs(extra) do
    merged[name] = value
  end
  for name, value in pairs(config) do
    merged[name] = value
  end
  return merged
end

function schema.check_string(value, what, level)
  if type(value) ~= "string" then
    error(("%s must be a string, not a %s"):format(what, type(value)), level + 1)
  end
end

--- Whether a text can be the name of a stream or consumer.
---@param what string  "stream", "consumer"
---@return true? ok, string? message, naq.Code? code  INVALID
function schema.check_name(value, what, level)
  schema.check_string(value, "a " .. what .. "'s name", level + 1)
  if value ~= "" and #value <= 255 and not value:find("[%s%c.*>/\\]") then return true end
  return nil, ("'%s' is no %s name"):format(value, what), errors.INVALID
end

--- A sequence in a header: an integer as far as this Lua has them, else its digits.
function schema.sequence(text)
  local n = tonumber(text)
  return n and n < 9007199254740992 and n or core.decode(text)
end

-- Days since the epoch of a civil date (Howard Hinnant's algorithm).
local function days(y, m, d)
  if m <= 2 then y = y - 1 end
  local era = math.floor(y / 400)
  local year = y - era * 400
  local day = math.floor((153 * (m + (m > 2 and -3 or 9)) + 2) / 5) + d - 1
  return era * 146097 + year * 365 + math.floor(year / 4) - math.floor(year / 100) + day - 719468
end

--- Epoch seconds of "2026-11-21T04:05:06.789Z"; nil for what is none, and for Go's zero time.
---@param text any
---@return number?
function schema.time(text)
  if type(text) ~= "string" then return nil end
  local y, mo, d, h, mi, s, rest = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d%.?%d*)(.*)$")
  if not y or y == "0001" then return nil end
  local at = days(tonumber(y), tonumber(mo), tonumber(d)) * 86400 + h * 3600 + mi * 60 + tonumber(s)
  local sign, oh, om = rest:match("^([+-])(%d%d):(%d%d)$")
  if sign then at = at - (sign == "+" and 1 or -1) * (oh * 3600 + om * 60) end
  return at
end

local function seconds(nano)
  local s = nano / 1e9
  local whole = math.floor(s)
  return s == whole and whole or s
end

-- Durations of a configuration that the server told, to seconds, in place.
local function config_to_lua(declaration, config)
  for name, value in pairs(config) do
    local declared = declaration[name]
    if declared and declared.duration then
      config[name] = seconds(value)
    elseif declared and declared.durations then
      for i = 1, #value do
        value[i] = seconds(value[i])
      end
    elseif declared and declared.time then
      config[name] = schema.time(value)
    end
  end
end

--- What the server says about a stream, in seconds, in place. An empty stream has neither first nor last.
---@return table info
function schema.stream_info(info)
  config_to_lua(schema.STREAM, info.config)
  info.created = schema.time(info.created)
  info.ts = schema.time(info.ts)
  info.type = nil
  local state = info.state or {}
  state.first_ts, state.last_ts = schema.time(state.first_ts), schema.time(state.last_ts)
  return info
end

--- What the server says about a consumer, in seconds, in place.
---@return table info
function schema.consumer_info(info)
  config_to_lua(schema.CONSUMER, info.config)
  info.created = schema.time(info.created)
  info.ts = schema.time(info.ts)
  info.type = nil
  for _, place in ipairs({ "delivered", "ack_floor" }) do
    if info[place] then info[place].last_active = schema.time(info[place].last_active) end
  end
  return info
end

local function shown(value)
  local text = core.encode(value)
  return text and text:gsub('"', "") or tostring(value)
end

local function same(declared, wanted, have)
  if declared.type == "strings" then
    local set, n = {}, 0
    for _, item in ipairs(have or {}) do
      set[item] = true
      n = n + 1
    end
    for _, item in ipairs(wanted) do
      if not set[item] then return false end
    end
    return n == #wanted
  end
  if type(wanted) == "table" then
    for k, v in pairs(wanted) do
      if not same({}, v, type(have) == "table" and have[k] or nil) then return false end
    end
    return true
  end
  -- The server leaves out what is zero, false or empty.
  if have == nil then return wanted == false or wanted == 0 or wanted == "" end
  return wanted == have or (declared.time and schema.time(wanted) == have) or false
end

--- How an existing configuration differs from the one that is wanted: a sentence for each setting that was
--- asked for, in the order of their names. What was not asked for is not compared.
---@return string[] differences
function schema.differences(declaration, wanted, have)
  local list = {}
  for name, value in pairs(wanted) do
    if not same(declaration[name], value, have[name]) then
      local is = have[name] == nil and "not set" or shown(have[name])
      list[#list + 1] = ("%s: is %s, wanted %s"):format(name, is, shown(value))
    end
  end
  table.sort(list)
  return list
end

return schema
