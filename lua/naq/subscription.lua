-- subscription.lua -- a subscription of core NATS: messages as they are published, none kept for later.
--
-- Two forms. Without a function messages are taken: next(), messages(). With one they go to it when the
-- program calls conn:dispatch(); dispatcher.lua does that. Messages that wait are bounded; when there is no
-- room, those that arrive are dropped and counted, and the connection's event `slow_consumer` tells once.
local message = require("naq.message")
local options = require("naq.options")

local function bound(value)
  if value ~= -1 and value < 1 then return "must be 1 or more, or -1 for no bound" end
  return nil
end

local SUBSCRIBE = {
  queue = { type = "string", doc = "a queue group: each message goes to one of its members" },
  max_messages = { type = "integer", check = bound, doc = "how many may wait, 65536" },
  max_bytes = { type = "integer", max = 2147483647, check = bound, doc = "how large they may be, 64 MB" },
  limit = { type = "integer", min = 1, max = 2147483647, doc = "ends after so many messages" },
}

---@class naq.SubscribeOptions
---@field queue string?          a queue group: each message goes to one of its members
---@field max_messages integer?  how many may wait; 65536; -1: no bound
---@field max_bytes integer?     how many bytes; 64 MB; -1: no bound
---@field limit integer?         ends by itself after so many messages

---@class naq.Subscription
---@field subject string
---@field conn naq.Connection
---@field closed boolean
---@field why string?   after a loop over messages(): why it ended
---@field code naq.Code?
local Subscription = {}
Subscription.__index = Subscription
Subscription.__name = "naq.Subscription"

local subscription = {}

--- Subscribe; raises at `level` (1: the calling function) for options that are misspelt or mistyped.
---@param conn naq.Connection
---@param subject string
---@param given? naq.SubscribeOptions
---@param level integer
---@param dispatcher? userdata  the core's, for the form with a function
---@param id? integer           what it answers for this one
---@return naq.Subscription? subscription, string? message, naq.Code? code
function subscription.open(conn, subject, given, level, dispatcher, id)
  local core = conn:use(level + 1)
  if type(subject) ~= "string" then error("subject must be a string, not a " .. type(subject), level + 1) end
  local opts = options.apply(SUBSCRIBE, given, level + 1)
  local wanted = { queue = opts.queue, max_messages = opts.max_messages, max_bytes = opts.max_bytes,
    limit = opts.limit, id = id }
  local handle, why, code = core:subscribe(subject, wanted, dispatcher)
  if not handle then return nil, why, code end
  return setmetatable({
    core = handle,
    conn = conn,
    subject = subject,
    limit = opts.limit,
    id = id,
    closed = false,
  }, Subscription)
end

local function use(self, level)
  if self.closed then error("this subscription is closed", level + 1) end
  return self.core
end

local function take(self, seconds, level)
  local core = use(self, level + 1)
  if self.id then
    error("the messages of this subscription go to its function: call conn:dispatch()", level + 1)
  end
  if seconds ~= nil and not (type(seconds) == "number" and seconds >= 0) then
    error("a number of seconds expected", level + 1)
  end
  local m, why, code = core:next(seconds)
  if not m then return nil, why, code end
  return message.wrap(m, self.conn)
end

--- The next message; waits for it, without limit when no seconds are given.
---@param seconds? number  0: only what has come
---@return naq.Message? message, string? message, naq.Code? code
---        TIMEOUT; CLOSED: it has ended; PERMISSION; CONNECTION: closed for good
function Subscription:next(seconds)
  local m, why, code = take(self, seconds, 2)
  return m, why, code
end

--- Iterate: `for m in sub:messages(5) do`. Ends when none came for that long (none given: never for that),
--- when the subscription ends or is closed in the loop; `why` and `code` of the subscription say which.
---@param seconds? number
---@return fun(): naq.Message?
function Subscription:messages(seconds)
  use(self, 2)
  return function()
    if self.closed then return nil end
    local m
    m, self.why, self.code = take(self, seconds, 2)
    return m
  end
end

--- End it: at once, or after n messages in all. What waits is gone. Harmless when it has ended.
---@param n? integer
---@return true? done, string? message, naq.Code? code
function Subscription:unsubscribe(n)
  if n == nil then
    self:close()
    return true
  end
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then error("a number of messages expected", 2) end
  local core = use(self, 2)
  self.limit = n
  local done, why, code = core:limit(n)
  return done, why, code
end

--- Ask for no more; what has come, or is on its way, can still be taken: next() answers CLOSED after the
--- last one.
---@param seconds? number  how long to wait for a connection that is lost: 2
---@return true? done, string? message, naq.Code? code  CONNECTION
function Subscription:drain(seconds)
  local core = use(self, 2)
  if seconds ~= nil and not (type(seconds) == "number" and seconds >= 0 and seconds < 1e6) then
    error("a number of seconds expected", 2)
  end
  local done, why, code = core:drain(seconds)
  if done then self.draining = true end
  return done, why, code
end

--- { delivered, dropped, messages, bytes, active }: taken by the program, dropped for want of room, waiting
--- now, whether more may come.
---@return {delivered: integer, dropped: integer, messages: integer, bytes: integer, active: boolean}? stats
---@return string? message, naq.Code? code  FORKED
function Subscription:stats()
  local stats, why, code = use(self, 2):stats()
  return stats, why, code
end

--- End it and give back what it holds. A closed subscription raises when it is used; closing twice is fine.
function Subscription:close()
  if self.closed then return end
  self.closed = true
  self.core:close()
  if self.forget then self.forget() end
end

Subscription.__close = Subscription.close

return subscription
