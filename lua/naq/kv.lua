-- kv.lua -- a key-value bucket: what js:kv() returns.
--
-- Values are strings of any bytes. Each write of a key gets a revision, larger than any before in the
-- bucket, by which a later one can be made conditional.
local bucket = require("naq.bucket")
local core = require("naq.core")
local errors = require("naq.errors")
local kv_watcher = require("naq.kv_watcher")
local options = require("naq.options")

---@class naq.KV
---@field name string
---@field differs string[]?  how the bucket differs from the options it was opened with
---@field connection naq.Connection
---@field direct boolean  reads need not ask the leader
---@field seconds number?  how long reading and writing a key insist: 30
local KV = {}
KV.__index = KV
KV.__name = "naq.KV"

local kv = {}

local OPTIONS = {
  history = { type = "integer", min = 1, max = 64, doc = "revisions kept of a key (1)" },
  ttl = { type = "number", min = 0.1, doc = "seconds after which an entry is gone (never)" },
  max_bytes = { type = "integer", min = 1, doc = "of the whole bucket (no limit)" },
  max_value_size = { type = "integer", min = 1, doc = "bytes (what the server takes)" },
  storage = { type = "string", one_of = { "file", "memory" }, doc = "file" },
  replicas = { type = "integer", min = 1, max = 5, doc = "the configuration's; else 3 on a cluster, or 1" },
  description = { type = "string" },
  create = { type = "boolean", default = true, doc = "false: a missing bucket is an error" },
  seconds = { type = "number", min = 0.01, max = 1e6, doc = "to insist through a lost connection (30)" },
  direct = { type = "boolean", doc = "read from any replica (true where there is only one)" },
}

local WATCH_OPTIONS = {
  history = { type = "boolean", doc = "all revisions, not only the last of each key" },
  updates_only = { type = "boolean", doc = "nothing of what stands there already" },
  ignore_deletes = { type = "boolean" },
  headers_only = { type = "boolean", doc = "keys and revisions without values" },
}

local NEXT_SECONDS = 30 -- of a listing: the server has gone silent

local function check_string(value, what, level)
  if type(value) == "string" then return end
  error(("%s must be a string, not a %s"):format(what, type(value)), level + 1)
end

local function check_revision(value, level)
  -- Before Lua 5.3 revisions over 2^53 are strings of digits.
  if type(value) == "number" and value >= 0 and value % 1 == 0 then return end
  if type(value) == "string" and value:find("^%d+$") then return end
  error("revision must be a whole number, not " .. tostring(value), level + 1)
end

-- What is new in a bucket that somebody else is making must not be read through its leader: that ends
-- nats-server 2.9.10. It answers a direct get as soon as it is whole.
local function wait_until_whole(conn, name)
  local body = ('{"last_by_subj":"$KV.%s.any"}'):format(name)
  local deadline = core.mono() + 2
  repeat
    local _, _, code = conn:request("$JS.API.DIRECT.GET.KV_" .. name, body, 0.2)
    if code ~= errors.TIMEOUT then return end
  until core.mono() >= deadline
end

-- A single replica is the leader: asking it directly is as true, and a third faster.
local function reads_directly(conn, name, config, wanted)
  if not config.allow_direct then return false end
  local direct = wanted
  if direct == nil then direct = config.num_replicas == 1 end
  if not direct then wait_until_whole(conn, name) end
  return direct
end

---@class naq.KVOptions
---@field history integer? 1
---@field ttl number? seconds
---@field max_bytes integer?
---@field max_value_size integer?
---@field storage "file"|"memory"|nil file
---@field replicas integer?
---@field description string?
---@field create boolean? true
---@field direct boolean?
---@field seconds number? 30

--- Open a bucket, or create it where it is missing. One that exists with other settings than were given
--- is opened all the same, and what differs comes second.
---@param js naq.JetStream
---@param name string
---@param given? naq.KVOptions
---@param level? integer  where misuse raises; 1: the calling function
---@return naq.KV? kv, string[]|string|nil differs_or_message, naq.Code? code
function kv.open(js, name, given, level)
  level = (level or 1) + 1
  check_string(name, "a bucket's name", level)
  local wanted = options.apply(OPTIONS, given, level)
  local connection = js.connection
  local conn = connection:use(level)
  local problem = bucket.problem(name)
  if problem then return nil, problem, errors.INVALID end
  local config = connection.config
  local full = { history = 1, storage = "file", replicas = config and config.nats.replicas }
  for option, value in pairs(wanted) do
    full[option] = value
  end
  local info, differs, code = bucket.ensure(conn, name, given or {}, full)
  if not info then return nil, differs, code end
  return setmetatable({
    name = name,
    connection = connection,
    differs = differs,
    direct = reads_directly(conn, name, info.config, wanted.direct),
    seconds = wanted.seconds,
  }, KV),
    differs
end

--- The value of a key and its revision.
---@param key string
---@return string? value, integer|string revision_or_message, naq.Code? code  KEY_NOT_FOUND
function KV:get(key)
  local conn = self.connection:use(2)
  check_string(key, "key", 2)
  local value, revision, code = conn:kv_get(self.name, key, self.direct, self.seconds)
  return value, revision, code
end

--- Write a value, whatever stands there.
---@param key string
---@param value string
---@return integer? revision, string? message, naq.Code? code
function KV:put(key, value)
  local conn = self.connection:use(2)
  check_string(key, "key", 2)
  check_string(value, "value", 2)
  local revision, message, code = conn:kv_put(self.name, key, value, self.seconds)
  return revision, message, code
end

--- Write a value where there is none; a deleted key has none.
---@param key string
---@param value string
---@return integer? revision, string? message, naq.Code? code  KEY_EXISTS
function KV:create(key, value)
  local conn = self.connection:use(2)
  check_string(key, "key", 2)
  check_string(value, "value", 2)
  local revision, message, code = conn:kv_create(self.name, key, value, self.seconds)
  return revision, message, code
end

--- Write a value if the key still has the revision that was read; 0: if it was never written.
---@param key string
---@param value string
---@param revision integer
---@return integer? revision, string? message, naq.Code? code  WRONG_REVISION
function KV:update(key, value, revision)
  local conn = self.connection:use(2)
  check_string(key, "key", 2)
  check_string(value, "value", 2)
  check_revision(revision, 2)
  local new, message, code = conn:kv_update(self.name, key, value, revision, self.seconds)
  return new, message, code
end

local function remove(self, method, key, opts)
  local conn = self.connection:use(3)
  check_string(key, "key", 3)
  local expected
  if opts ~= nil then
    if type(opts) ~= "table" then error("options must be a table, not a " .. type(opts), 3) end
    for name in pairs(opts) do
      if name ~= "revision" then error(options.unknown({ revision = true }, name), 3) end
    end
    expected = opts.revision
    if expected ~= nil then check_revision(expected, 3) end
  end
  local done, message, code = conn[method](conn, self.name, key, expected, self.seconds)
  return done, message, code
end

--- Delete a key; its earlier revisions stay in its history. One that is not there is deleted as well.
---@param key string
---@param opts? { revision: integer }  only if the key still has that revision
---@return true? done, string? message, naq.Code? code  WRONG_REVISION
function KV:delete(key, opts)
  local done, message, code = remove(self, "kv_delete", key, opts)
  return done, message, code
end

--- Delete a key with all its history.
---@param key string
---@param opts? { revision: integer }
---@return true? done, string? message, naq.Code? code  WRONG_REVISION
function KV:purge(key, opts)
  local done, message, code = remove(self, "kv_purge", key, opts)
  return done, message, code
end

--- All keys that have a value, in the order in which they were last written.
---@param filter? string  a key whose parts between dots may be *, the last one > ; ">": all
---@return string[]? keys, string? message, naq.Code? code
function KV:keys(filter)
  local conn = self.connection:use(2)
  if filter ~= nil then check_string(filter, "filter", 2) end
  local keys, message, code = conn:kv_keys(self.name, filter)
  return keys, message, code
end

local function open_watch(self, filter, opts, level)
  local conn = self.connection:use(level + 1)
  if filter ~= nil then check_string(filter, "filter", level + 1) end
  return conn:kv_watch(self.name, filter, opts)
end

--- Iterate over all entries: `for key, value, revision in kv:each() do`. However large the bucket, only a
--- part of it is in memory. Raises when the connection is lost for good on the way.
---@param filter? string
---@return (fun(): string?, string?, integer?)? iterator, string? message, naq.Code? code
function KV:each(filter)
  local handle, message, code = open_watch(self, filter, { ignore_deletes = true }, 2)
  if not handle then return nil, message, code end
  self.connection:own(handle)
  local function step()
    if not handle then return nil end
    local event, why
    repeat
      event, why = handle:next(NEXT_SECONDS)
      if not event then
        handle:close()
        handle = nil
        error(why, 2)
      end
    until event.operation ~= "reset"
    if event.operation == "put" then return event.key, event.value, event.revision end
    handle:close()
    handle = nil
    return nil
  end
  return step, nil, nil, handle -- which Lua 5.4 closes when the loop is left early
end

--- All revisions of a key that the bucket keeps, the oldest first: { value, revision, operation,
--- created }.
---@param key string
---@return naq.KVEvent[]? entries, string? message, naq.Code? code  KEY_NOT_FOUND
function KV:history(key)
  check_string(key, "key", 2)
  if key:find("[*>]") then
    return nil, ("%q is no key, but a filter"):format(key), errors.INVALID
  end
  local handle, message, code = open_watch(self, key, { history = true }, 2)
  if not handle then return nil, message, code end
  local entries = {}
  repeat
    local event
    event, message, code = handle:next(NEXT_SECONDS)
    local operation = event and event.operation
    if operation == "reset" then
      entries = {}
    elseif event and operation ~= "up_to_date" then
      entries[#entries + 1] = event
    end
  until not event or operation == "up_to_date"
  handle:close()
  if code then return nil, message, code end
  if #entries == 0 then
    return nil, ("key %s of bucket %s: not there"):format(key, self.name), errors.KEY_NOT_FOUND
  end
  return entries
end

---@class naq.KVWatchOptions
---@field history boolean?  all revisions, not only the last of each key
---@field updates_only boolean?  nothing of what stands there already
---@field ignore_deletes boolean?
---@field headers_only boolean?  keys and revisions without values

--- Follow a bucket: first what stands in it, then, behind "up_to_date", each change.
---@param filter? string  a key or a filter; ">": all
---@param opts? naq.KVWatchOptions
---@return naq.KVWatcher? watcher, string? message, naq.Code? code
function KV:watch(filter, opts)
  local checked = options.apply(WATCH_OPTIONS, opts, 2)
  local handle, message, code = open_watch(self, filter, checked, 2)
  if not handle then return nil, message, code end
  local watcher = kv_watcher.new(handle)
  self.connection:own(watcher)
  return watcher
end

--- What the bucket is and holds.
---@return naq.KVStatus? status, string? message, naq.Code? code
function KV:status()
  local info, message, code = bucket.info(self.connection:use(2), self.name)
  if not info then return nil, message, code end
  return bucket.status(self.name, info)
end

--- Delete the bucket with all it holds.
---@return true? done, string? message, naq.Code? code
function KV:destroy()
  local done, message, code = bucket.delete(self.connection:use(2), self.name)
  return done, message, code
end

--- Delete the bucket of that name.
---@param js naq.JetStream
---@param name string
---@param level? integer
---@return true? done, string? message, naq.Code? code  CONFIGURATION: there is none
function kv.delete(js, name, level)
  level = (level or 1) + 1
  check_string(name, "a bucket's name", level)
  local conn, problem = js.connection:use(level), bucket.problem(name)
  if problem then return nil, problem, errors.INVALID end
  local done, message, code = bucket.delete(conn, name)
  return done, message, code
end

--- The names of all buckets, sorted.
---@param js naq.JetStream
---@param level? integer
---@return string[]? names, string? message, naq.Code? code
function kv.list(js, level)
  local names, message, code = bucket.list(js.connection:use((level or 1) + 1))
  return names, message, code
end

return kv
