-- connection.lua -- a raw NATS connection: a counted handle on one of the process-wide pool's.
--
-- Wraps the core's handle (field `core`). Handles are cheap and belong to one Lua state; several of them,
-- in several states and threads, share a connection. Closing one gives the connection back to the pool,
-- which keeps it open for the next.
local core = require("naq.core")
local dispatcher = require("naq.dispatcher")
local event_handlers = require("naq.event_handlers")
local subscription = require("naq.subscription")

local HEALTH_SECONDS = 2

---@class naq.Connection
---@field core naq.CoreConn
---@field config naq.Config
---@field closed boolean
local Connection = {}
Connection.__index = Connection
Connection.__name = "naq.Connection"

local connection = {}

--- Wrap a core handle, which is the new object's from now on.
---@param handle naq.CoreConn
---@param config naq.Config  as naq.config resolved it
---@return naq.Connection
function connection.new(handle, config)
  return setmetatable({
    core = handle,
    config = config,
    closed = false,
    handlers = event_handlers.new(),
    owned = setmetatable({}, { __mode = "k" }), -- what has to end with it
  }, Connection)
end

--- Give the connection back. What was published has gone out by then; subscriptions made with this handle
--- end. A closed handle raises when it is used; closing twice is fine.
function Connection:close()
  if self.closed then return end
  self.closed = true
  for object in pairs(self.owned) do
    object:close()
  end
  self.core:close()
end

Connection.__close = Connection.close

--- The core's handle, or an error at `level` (1: the calling function) when this one is closed. For what
--- is built on a connection.
---@param level integer
---@return naq.CoreConn
function Connection:use(level)
  if self.closed then error("this connection is closed", level + 1) end
  return self.core
end

local function check_string(value, what, level)
  if type(value) ~= "string" then
    error(("%s must be a string, not a %s"):format(what, type(value)), level + 1)
  end
end

local function check_seconds(value, level)
  if value ~= nil and not (type(value) == "number" and value > 0 and value < 1e6) then
    error("a positive number of seconds expected", level + 1)
  end
  return value
end

--- Publish without an answer. Buffered: flush() waits until the server has it.
---@param subject string
---@param data? string
---@param headers? table<string, string|string[]>  a list where a name has several values
---@return true? done, string? message, naq.Code? code
function Connection:publish(subject, data, headers)
  local handle = self:use(2)
  check_string(subject, "subject", 2)
  local done, message, code = handle:publish(subject, data, headers)
  return done, message, code
end

--- One request and its answer.
---@param subject string
---@param data? string
---@param seconds? number  5
---@param headers? table<string, string|string[]>  a list where a name has several values
---@return string? data, table<string, string|string[]>|string headers_or_message, naq.Code? code
function Connection:request(subject, data, seconds, headers)
  local handle = self:use(2)
  check_string(subject, "subject", 2)
  local answer, more, code = handle:request(subject, data, check_seconds(seconds, 2), headers)
  return answer, more, code
end

--- What it is connected to: { url, server_id, server_name, version, cluster, cluster_size, max_payload,
--- rtt }.
---@return table? info, string? message, naq.Code? code
function Connection:info()
  local info, message, code = self:use(2):info()
  return info, message, code
end

--- Wait until the server has taken everything published so far.
---@param seconds? number  nats.flush_timeout
---@return true? done, string? message, naq.Code? code  TIMEOUT, CONNECTION, CLOSED
function Connection:flush(seconds)
  local handle = self:use(2)
  local done, message, code = handle:flush(check_seconds(seconds, 2) or self.config.nats.flush_timeout)
  return done, message, code
end

--- The time to the server and back.
---@param seconds? number  how long to wait for it: nats.flush_timeout
---@return number? seconds, string? message, naq.Code? code
function Connection:rtt(seconds)
  local handle = self:use(2)
  local rtt, message, code = handle:rtt(check_seconds(seconds, 2) or self.config.nats.flush_timeout)
  return rtt, message, code
end

--- "connected", "reconnecting" (its server is lost) or "closed" (for good, under this handle).
---@return "connected"|"reconnecting"|"closed"|nil status, string? message, naq.Code? code  FORKED
function Connection:status()
  local status, message, code = self:use(2):status()
  return status, message, code
end

--- What this connection, which others may share, has done: { in_messages, in_bytes, out_messages,
--- out_bytes, reconnects, disconnects, slow_consumers, lame_ducks, errors }.
---@return table<string, integer>? stats, string? message, naq.Code? code  FORKED
function Connection:stats()
  local stats, message, code = self:use(2):stats()
  return stats, message, code
end

---@class naq.ConnectionHealth
---@field ok boolean          the server answers
---@field status string       as status(); "forked" in a process that was forked from the one that connected
---@field server string?      its URL, without secrets
---@field rtt number?         seconds
---@field reconnects integer?
---@field disconnects integer?
---@field slow_consumers integer?
---@field message string?     why it is not ok
---@field code naq.Code?

--- Ask the server for a sign of life. Never fails: what is wrong stands in the answer.
---@param seconds? number  2
---@return naq.ConnectionHealth
function Connection:health(seconds)
  local handle = self:use(2)
  local rtt, message, code = handle:rtt(check_seconds(seconds, 2) or HEALTH_SECONDS)
  local stats = handle:stats() or {}
  return {
    ok = rtt ~= nil,
    status = handle:status() or "forked",
    server = rtt and handle:url() or nil,
    rtt = rtt,
    reconnects = stats.reconnects,
    disconnects = stats.disconnects,
    slow_consumers = stats.slow_consumers,
    message = message,
    code = code,
  }
end

--- Have an object closed with this handle, unless it was collected before.
---@param object table  with close(), harmless twice
function Connection:own(object) self.owned[object] = true end

-- The dispatcher, held for as long as the handle, because its subscriptions may be held by nobody else.
local function dispatcher_of(self)
  if not self.dispatches then
    local made, message, code = dispatcher.new(self)
    if not made then return nil, message, code end
    self.dispatches = made
    self:own(made)
  end
  return self.dispatches
end

--- Subscribe. Without a function the messages are taken from the subscription; with one, it is called for
--- each of them in dispatch(): function(message, subscription).
---@param subject string
---@param given? naq.SubscribeOptions
---@param fn? fun(message: naq.Message, subscription: naq.Subscription)
---@return naq.Subscription? subscription, string? message, naq.Code? code  INVALID, PERMISSION, CONNECTION
---@overload fun(self, subject: string, fn: function): naq.Subscription?, string?, naq.Code?
function Connection:subscribe(subject, given, fn)
  self:use(2)
  if type(given) == "function" and fn == nil then
    given, fn = nil, given
  end
  local sub, message, code
  if fn == nil then
    sub, message, code = subscription.open(self, subject, given, 2)
    if sub then self:own(sub) end
    return sub, message, code
  end
  if type(fn) ~= "function" then error("a function expected, not a " .. type(fn), 2) end
  local made
  made, message, code = dispatcher_of(self)
  if not made then return nil, message, code end
  sub, message, code = made:subscribe(subject, given, fn, 2)
  return sub, message, code
end

--- Call the functions of this handle's subscriptions and events for what has come, here and now, on the
--- calling thread. When nothing has, wait for the first at most that long. An error in one of them comes
--- out of dispatch(); what waits behind it is for the next call.
---@param seconds? number  0: do not wait
---@return integer? ran, string? message, naq.Code? code
function Connection:dispatch(seconds)
  self:use(2)
  if seconds ~= nil and not (type(seconds) == "number" and seconds >= 0 and seconds < 1e6) then
    error("a number of seconds expected", 2)
  end
  if not self.dispatches then -- a connection that was closed makes none, and still has that to tell
    local ran = self.handlers:run(self)
    if ran > 0 then return ran end
  end
  local made, message, code = dispatcher_of(self)
  if not made then return nil, message, code end
  return made:run(seconds or 0, function() return self.handlers:run(self) end)
end

--- Have a function called when something happens to the connection by itself; it runs in dispatch(), on
--- this thread. What happens between two calls is kept, the last 32 of it. An error or a slow consumer is
--- told once while it goes on; of very many different ones, nine.
---@param event "disconnected"|"reconnected"|"slow_consumer"|"lame_duck"|"closed"|"error"
---@param fn fun(event: naq.ConnectionEvent)
function Connection:on(event, fn)
  self:use(2)
  self.handlers:add(self, event, fn, 2)
end

--- End in order: this handle's subscriptions get no more messages, those with a function are called for what
--- has come, what was published has gone out, and the handle is closed. Messages that wait in subscriptions
--- without a function are gone: take them before.
---@param seconds? number  nats.drain_timeout
---@return true? done, string? message, naq.Code? code  TIMEOUT, CONNECTION; it is closed all the same
function Connection:drain(seconds)
  local handle = self:use(2)
  local deadline = core.mono() + (check_seconds(seconds, 2) or self.config.nats.drain_timeout)
  local done, message, code = true, nil, nil
  if self.dispatches then
    done, message, code = self.dispatches:drain(deadline, function() return self.handlers:run(self) end)
  end
  if done and not self.closed then
    done, message, code = handle:flush(math.max(deadline - core.mono(), 0.001))
  end
  self:close()
  return done, message, code
end

--- JetStream on this connection: streams, consumers, key-value buckets. Valid as long as this handle is
--- open.
---@return naq.JetStream
function Connection:jetstream()
  self:use(2)
  return require("naq.jetstream").new(self)
end

return connection
