-- pull_subscription.lua -- messages of a JetStream consumer, fetched a batch at a time.
--
-- The server keeps what is not fetched and delivers again what is not acked; any number of pull
-- subscriptions, in any number of processes, share the messages of one consumer.
local message = require("naq.message")
local options = require("naq.options")

local FETCH = { seconds = { type = "number", min = 0, doc = "how long to wait for the first message, 5" } }

---@class naq.PullSubscription
---@field stream string
---@field consumer string
---@field closed boolean
---@field why string?   after a loop over messages(): why it ended
---@field code naq.Code?
local PullSubscription = {}
PullSubscription.__index = PullSubscription
PullSubscription.__name = "naq.PullSubscription"

local pull_subscription = {}

---@param conn naq.Connection
---@param stream string
---@param consumer string
---@param forget? fun()  called by close(): deletes a consumer that is nobody else's
---@return naq.PullSubscription? subscription, string? message, naq.Code? code
function pull_subscription.open(conn, stream, consumer, forget)
  local core, why, code = conn.core:fetcher(stream, consumer)
  if not core then return nil, why, code end
  local self = setmetatable({
    core = core,
    conn = conn,
    stream = stream,
    consumer = consumer,
    forget = forget,
    closed = false,
  }, PullSubscription)
  conn:own(self)
  return self
end

local function use(self, level)
  if self.closed then error("this subscription is closed", level + 1) end
  return self.core
end

local function check_seconds(seconds, level)
  if seconds ~= nil and not (type(seconds) == "number" and seconds >= 0 and seconds < 1e6) then
    error("a number of seconds expected", level + 1)
  end
  return seconds
end

local function fetch(self, n, seconds, level)
  local list, why, code = use(self, level + 1):fetch(n, check_seconds(seconds, level + 1))
  if not list then return nil, why, code end
  for i = 1, #list do
    message.wrap(list[i], self.conn)
  end
  return list
end

--- Up to n messages: as soon as there is one, those that the server has at hand. When there is none in the
--- time, the list is empty; nil means that something is wrong.
---@param n integer  1 to 100000
---@param opts? {seconds: number?}|number  5; 0: only what is there
---@return naq.Message[]? messages, string? message, naq.Code? code
---        KEY_NOT_FOUND: no such consumer; CONNECTION: no connection to the end of the time; TIMEOUT: the
---        server is mute; CONFIGURATION: it refuses so many
function PullSubscription:fetch(n, opts)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 1 or n > 100000 then
    error("from 1 to 100000 messages can be fetched", 2)
  end
  local seconds = opts
  if type(opts) == "table" then
    seconds = options.apply(FETCH, opts, 2).seconds
  end
  local list, why, code = fetch(self, n, seconds, 2)
  return list, why, code
end

--- One message.
---@param seconds? number  5
---@return naq.Message? message, string? message, naq.Code? code  TIMEOUT: none came; else as fetch()
function PullSubscription:next(seconds)
  local list, why, code = fetch(self, 1, seconds, 2)
  if not list then return nil, why, code end
  if list[1] then return list[1] end
  return nil, ("consumer %s of stream %s: no message in time"):format(self.consumer, self.stream), "TIMEOUT"
end

--- Iterate: `for m in sub:messages(5) do`. Ends when none came for that long, when the subscription is
--- closed in the loop, or when something is wrong; `why` and `code` of the subscription say which.
---@param seconds? number  5
---@param batch? integer    how many are fetched at a time, 1: what is fetched has to be acked in time
---@return fun(): naq.Message?
function PullSubscription:messages(seconds, batch)
  use(self, 2)
  check_seconds(seconds, 2)
  local list, at = {}, 0
  return function()
    if self.closed then return nil end
    at = at + 1
    if list[at] == nil then
      local found
      found, self.why, self.code = fetch(self, batch or 1, seconds, 2)
      list, at = found or {}, 1
      if found and not found[1] then self.why, self.code = "no message in time", "TIMEOUT" end
    end
    return list[at]
  end
end

--- End it. Messages that were fetched can still be acked. A consumer that was made for this subscription
--- alone is deleted. A closed subscription raises when it is used; closing twice is fine.
function PullSubscription:close()
  if self.closed then return end
  self.closed = true
  self.core:close()
  if self.forget then self.forget() end
end

PullSubscription.__close = PullSubscription.close

return pull_subscription
