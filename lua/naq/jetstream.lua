-- jetstream.lua -- JetStream of a connection: publishing into streams, and reading them. Streams, their
-- messages and consumers are in files of their own, key-value buckets in kv.lua. Everything waits for the
-- server's answer.
--
-- Settings have the names of JetStream's API; durations and times are in seconds. A stream, consumer or
-- message that is not there answers KEY_NOT_FOUND.
local api = require("naq.jetstream_api")
local errors = require("naq.errors")
local kv = require("naq.kv")
local options = require("naq.options")
local pull_subscription = require("naq.pull_subscription")
local schema = require("naq.jetstream_schema")

---@class naq.JetStream
---@field connection naq.Connection
local JetStream = {}
JetStream.__index = JetStream
JetStream.__name = "naq.JetStream"

local function include(part)
  for name, method in pairs(part) do
    JetStream[name] = method
  end
end

include((require("naq.jetstream_streams")))
include((require("naq.jetstream_messages")))
include((require("naq.jetstream_consumers")))

local jetstream = {}

--- JetStream on a connection; nothing is asked of the server. Valid as long as the connection is open.
---@param conn naq.Connection
---@return naq.JetStream
function jetstream.new(conn) return setmetatable({ connection = conn }, JetStream) end

local PUBLISH = {
  msg_id = { type = "string", doc = "stored once within the stream's duplicate_window" },
  expect_stream = { type = "string", doc = "refused by any other stream" },
  expect_last_seq = { type = "integer", min = 0, doc = "the stream's last sequence" },
  expect_last_subject_seq = { type = "integer", min = 0, doc = "the subject's last; 0: it has none" },
  expect_last_msg_id = { type = "string", doc = "the stream's last msg_id" },
  headers = { type = "table", doc = "a string, or a list of them, under each name" },
  seconds = { type = "number", min = 0.001, doc = "how long the ack may take, 5" },
}

---@class naq.PublishOptions
---@field msg_id string?                    a second message with it is not stored again
---@field expect_stream string?
---@field expect_last_seq integer?          WRONG_REVISION when another one came between
---@field expect_last_subject_seq integer?  0: the subject has no message yet
---@field expect_last_msg_id string?
---@field headers table<string, string|string[]>?
---@field seconds number?                   5

local PLAIN = { seconds = 5 }

local function check_message(subj, data, level)
  schema.check_string(subj, "subject", level + 1)
  if data ~= nil and type(data) ~= "string" then
    error("data must be a string, not a " .. type(data), level + 1)
  end
end

--- Store one message. With a msg_id it is sent again through a lost connection or a change of leader, and
--- stored once; without one it is never sent twice, and an ack that stays away leaves its fate unknown.
---@param subj string
---@param data? string
---@param opts? naq.PublishOptions
---@return integer? seq, boolean|string duplicate_or_message, naq.Code? code
---        CONFIGURATION: no stream has the subject; WRONG_REVISION; DUPLICATE: the subject is taken;
---        STORAGE_FULL, TOO_LARGE, TIMEOUT, CONNECTION, PERMISSION, NO_JETSTREAM, INVALID
function JetStream:publish(subj, data, opts)
  local core = self.connection:use(2)
  check_message(subj, data, 2)
  local seq, duplicate, code
  if opts == nil then
    seq, duplicate, code = core:js_publish(subj, data or "", nil, PLAIN)
  else
    opts = options.apply(PUBLISH, opts, 2)
    if not opts.seconds then opts = setmetatable({ seconds = PLAIN.seconds }, { __index = opts }) end
    seq, duplicate, code = core:js_publish(subj, data or "", opts.msg_id, opts)
  end
  return seq, duplicate, code
end

local WINDOW = {
  max_in_flight = { type = "integer", min = 1, max = 4096, doc = "messages without an ack, 4096" },
  seconds = { type = "number", min = 0.001, doc = "how long each ack may take, 30" },
}

local function window_of(self, opts)
  if self.window then return self.window end
  local window, message, code = self.connection.core:window(opts)
  if not window then return nil, message, code end
  self.window = window
  self.connection:own(window)
  return window
end

--- The bounds of publish_async(), before its first call.
---@param opts {max_in_flight: integer?, seconds: number?}
---@return true? done, string? message, naq.Code? code
function JetStream:async_window(opts)
  self.connection:use(2)
  opts = options.apply(WINDOW, opts, 2)
  if self.window then error("publish_async() has begun", 2) end
  local window, message, code = window_of(self, opts)
  if not window then return nil, message, code end
  return true
end

--- Store a message without waiting for its ack: many times as fast. Waits only while as many are in
--- flight as may be. await() tells what became of them.
---@param subj string
---@param data? string
---@param opts? naq.PublishOptions  but `seconds`
---@return integer? number, string? message, naq.Code? code  from 1 since the last await()
function JetStream:publish_async(subj, data, opts)
  self.connection:use(2)
  check_message(subj, data, 2)
  if opts ~= nil then
    opts = options.apply(PUBLISH, opts, 2)
    if opts.seconds then error("option 'seconds' is async_window()'s", 2) end
  end
  local window, message, code = window_of(self)
  if not window then return nil, message, code end
  local number
  number, message, code = window:publish(subj, data or "", opts and opts.msg_id, opts)
  return number, message, code
end

--- Wait until every message of publish_async() has its ack or its error, and begin to count anew.
---@param seconds? number  none: until the last one's time is over
---@return integer? stored, table|string errors_or_message, integer|naq.Code|nil duplicates_or_code
---        errors: { [number] = { code =, message = } }; TIMEOUT: some have neither, call it again
function JetStream:await(seconds)
  self.connection:use(2)
  if seconds ~= nil and not (type(seconds) == "number" and seconds >= 0 and seconds < 1e6) then
    error("a number of seconds expected", 2)
  end
  if not self.window then return 0, {}, 0 end
  local stored, duplicates, refused = self.window:await(seconds)
  if not stored then return nil, duplicates, refused end
  return stored, refused, duplicates
end

local PULL = {
  stream = { type = "string", doc = "found by the subject, when it is not named" },
  durable = { type = "string", doc = "a consumer that stays, made where it is missing" },
  config = { type = "table", doc = "further settings of a consumer that is made" },
}

-- How long the server keeps a consumer of its own that nobody fetches from.
local FORGOTTEN_AFTER = 60

local function find_stream(core, subj)
  local answer, message, code = api.call(core, "STREAM.NAMES", nil, { subject = subj })
  if not answer then return nil, message, code end
  local names = answer.streams -- null when there is none
  if type(names) == "table" and names[1] then return names[1] end
  return nil, ("no stream has the subject %s"):format(subj), errors.CONFIGURATION
end

-- Whether an existing consumer does what is asked for.
local function mismatch(info, subj)
  local at = ("consumer %s of stream %s"):format(info.name, info.stream_name)
  if info.config.deliver_subject then return at .. " pushes its messages: it cannot be pulled" end
  local several = info.config.filter_subjects
  if subj and type(several) == "table" then
    local list = table.concat(several, ", ")
    return ("%s reads several subjects, %s: name the stream, and no subject"):format(at, list)
  end
  local filter = info.config.filter_subject
  if subj and filter ~= subj and not (subj == ">" and not filter) then
    return ("%s: filter_subject: is %s, wanted %s"):format(at, filter or "not set", subj)
  end
  return nil
end

--- Fetch from a consumer. A durable one is made where it is missing, and has to read this subject where it
--- exists; without a durable name one is made that goes with the subscription (or 60 s after the program).
---@param subj string?  what it reads; nil with a stream: whatever the consumer reads, or all of it
---@param opts? string|{stream: string?, durable: string?, config: table?}  a string: the durable name
---@return naq.PullSubscription? subscription, string? message, naq.Code? code
---        CONFIGURATION: no stream has the subject, or the consumer is another
function JetStream:pull_subscribe(subj, opts)
  local core = self.connection:use(2)
  if subj ~= nil then schema.check_string(subj, "subject", 2) end
  if type(opts) == "string" then opts = { durable = opts } end
  opts = options.apply(PULL, opts, 2)
  if not subj and not opts.stream then error("a subject or a stream expected", 2) end
  local stream, message, code = opts.stream
  if not stream then
    stream, message, code = find_stream(core, subj)
    if not stream then return nil, message, code end
  end
  local info
  if opts.durable then
    info, message, code = self:consumer_info(stream, opts.durable)
    if not info and code ~= errors.KEY_NOT_FOUND then return nil, message, code end
    local wrong = info and mismatch(info, subj)
    if wrong then return nil, wrong, errors.CONFIGURATION end
  end
  if not info then
    local own = { filter_subject = subj, durable_name = opts.durable }
    if not opts.durable then own.inactive_threshold = FORGOTTEN_AFTER end
    info, message, code = self:create_consumer(stream, schema.with(opts.config or {}, own), 2)
    if not info then return nil, message, code end
  end
  local forget
  if not opts.durable then
    forget = function() -- a server that is away forgets it by itself, a minute after the last fetch
      if core:status() ~= "connected" then return end
      api.call(core, "CONSUMER.DELETE", ("%s.%s"):format(stream, info.name), nil, 1)
    end
  end
  local sub
  sub, message, code = pull_subscription.open(self.connection, stream, info.name, forget)
  return sub, message, code
end

--- A key-value bucket, opened or created. See kv.lua. One that exists with other settings than were asked
--- for is opened all the same, and what differs comes second.
---@param bucket string
---@param opts? naq.KVOptions
---@return naq.KV? kv, string[]|string|nil differs_or_message, naq.Code? code
function JetStream:kv(bucket, opts)
  self.connection:use(2)
  local opened, message, code = kv.open(self, bucket, opts, 2)
  return opened, message, code
end

--- Delete a bucket with all it holds.
---@param bucket string
---@return true? done, string? message, naq.Code? code  CONFIGURATION: there is none
function JetStream:delete_kv(bucket)
  local done, message, code = kv.delete(self, bucket, 2)
  return done, message, code
end

--- The names of all buckets, sorted.
---@return string[]? names, string? message, naq.Code? code
function JetStream:list_kv()
  local names, message, code = kv.list(self, 2)
  return names, message, code
end

return jetstream
