-- control.lua -- the settings of queues, which live in the bucket <prefix>_control: read, and changed by
-- compare-and-set, so that of two who change different things at the same time both are followed.
-- Workers watch the bucket (csrc/run/control.h).
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local keys = require("naq.config_keys")
local options = require("naq.options")

local control = {}

local TRIES = 20
-- Workers renew the leases of their jobs at the pace of a new ack_wait a second after it is set at the
-- latest. Sooner the server must not be told of a shorter one, or it would take running jobs for lost.
local KNOWN_SECONDS = 1.5

--- What can be set: the keys queues.configs.NAME.* of the configuration.
---@type table<string, naq.ConfigKey>
control.DECLARATION = {}
for _, key in ipairs(keys.LIST) do
  if key.of_queue then control.DECLARATION[key.of_queue] = key end
end

---@class naq.QueueSettings
---@field paused boolean?
---@field concurrency integer?
---@field rate_limit number|string|nil
---@field ack_wait number?

-- The record as it is, or {}; and its revision, 0 where there is none.
local function read(client, name)
  local bucket = client.prefix .. "_control"
  local there, text, revision, code
  there, revision, code = jetstream_api.laid_out(client)
  if there == nil then return nil, revision, code end
  if not there then return {}, 0 end
  text, revision, code = client.conn:kv_get(bucket, name)
  if text then
    local record, message
    record, message, code = core.decode(text)
    if type(record) == "table" then return record, revision end
    message = ("its settings in bucket %s cannot be read: %s"):format(bucket, message or "no object")
    return nil, message, code or errors.SERIALIZATION
  end
  if code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION then return {}, 0 end
  return nil, revision, code
end

--- What is set for a queue in NATS; {} when nothing is.
---@param client naq.Client
---@param name string
---@return naq.QueueSettings? settings, string? message, naq.Code? code
function control.settings(client, name)
  local record, message, code = read(client, name)
  if not record then return nil, message, code end
  return record
end

--- Whether a queue is paused: in NATS, or where that says nothing in this program's configuration.
---@return boolean? paused, string? message, naq.Code? code
function control.paused(client, name)
  local record, message, code = read(client, name)
  if not record then return nil, message, code end
  if type(record.paused) == "boolean" then return record.paused end
  local file = client.config.queues.configs[name]
  return file ~= nil and file.paused == true
end

--- Raises at `level` (1: the calling function) for changes that are misspelt or mistyped. core.null
--- unsets.
---@param changes table
function control.check(changes, level)
  if type(changes) ~= "table" then error("queue:configure() takes a table of settings", level + 1) end
  for name, value in pairs(changes) do
    local declared = control.DECLARATION[name]
    if not declared then error(options.unknown(control.DECLARATION, name), level + 1) end
    local problem = value ~= core.null and keys.problem(declared, value)
    if problem then error(("option '%s' %s"):format(name, problem), level + 1) end
  end
end

local function write(client, name, record, revision)
  local bucket = client.prefix .. "_control"
  local text, message, code = core.encode(record)
  if not text then return nil, message, code end
  local made
  if revision == 0 then
    made, message, code = client.conn:kv_create(bucket, name, text)
  else
    made, message, code = client.conn:kv_update(bucket, name, text, revision)
  end
  return made, message, code
end

-- One round: true, or nil, message, code; WRONG_REVISION when somebody else was first.
local function change_once(client, name, changes)
  local record, revision, code = read(client, name)
  if not record then return nil, revision, code end
  local changed = false
  for key, value in pairs(changes) do
    if value == core.null then value = nil end
    if type(value) == "table" and #value == 0 then value = core.array({}) end
    changed = changed or type(value) == "table" or record[key] ~= value
    record[key] = value
  end
  if not changed then return record end
  local made, message
  made, message, code = write(client, name, record, revision)
  if made then return record end
  if code == errors.CONFIGURATION then -- a new server: there is no bucket yet
    local layout
    layout, message, code = client:ensure_layout()
    if layout then return nil, "made", errors.WRONG_REVISION end
  end
  if code == errors.KEY_EXISTS then code = errors.WRONG_REVISION end
  return nil, message, code
end

-- Give a queue's consumers another ack_wait, where they exist: the server applies it to what is
-- delivered already, too.
local function update_consumers(client, name, seconds)
  local stream, waited = client.prefix .. "_jobs", false
  for _, priority in ipairs(job.PRIORITIES) do
    local consumer = ("%s.%s_%s"):format(stream, name, priority)
    local info, message, code = jetstream_api.call(client.conn, "CONSUMER.INFO", consumer)
    if not info and code ~= errors.KEY_NOT_FOUND then return nil, message, code end
    local wanted = math.floor(seconds * 1000 + 0.5) * 1000000
    if info and info.config.ack_wait ~= wanted then
      if wanted < info.config.ack_wait and not waited then
        core.sleep(KNOWN_SECONDS)
        waited = true
      end
      info.config.ack_wait = wanted
      local body = { stream_name = stream, config = info.config }
      local updated
      updated, message, code = jetstream_api.call(client.conn, "CONSUMER.DURABLE.CREATE", consumer, body)
      if not updated then return nil, "ack_wait: " .. message, code end
    end
  end
  return true
end

--- Change some settings of a queue and leave the others as they are; core.null unsets one. Workers
--- follow within a second. The changes must have passed control.check().
---@param client naq.Client
---@param name string
---@param changes table
---@return naq.QueueSettings? settings  all that is set now
---@return string? message, naq.Code? code
function control.configure(client, name, changes)
  local there, record, message, code
  there, message, code = jetstream_api.laid_out(client)
  if there == false then
    there, message, code = client:ensure_layout()
  end
  if not there then return nil, message, code end
  for _ = 1, TRIES do
    record, message, code = change_once(client, name, changes)
    if record or code ~= errors.WRONG_REVISION then break end
  end
  if not record then return nil, message, code end
  if type(changes.ack_wait) == "number" then
    local updated
    updated, message, code = update_consumers(client, name, changes.ack_wait)
    if not updated then return nil, message, code end
  end
  return record
end

return control
