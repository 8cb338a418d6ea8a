-- dispatcher.lua -- the functions of a connection's subscriptions, run on the program's own thread when it
-- asks for that. Threads of libnats put messages into the core's dispatcher; they never see Lua.
local message = require("naq.message")
local subscription = require("naq.subscription")

---@class naq.Dispatcher
local Dispatcher = {}
Dispatcher.__index = Dispatcher

local dispatcher = {}

---@param conn naq.Connection
---@return naq.Dispatcher? dispatcher, string? message, naq.Code? code
function dispatcher.new(conn)
  local core, why, code = conn.core:dispatcher()
  if not core then return nil, why, code end
  return setmetatable({ conn = conn, core = core, subs = {}, last = 0 }, Dispatcher)
end

--- Subscribe with a function. The subscription is held here until it ends.
---@param subject string
---@param given? naq.SubscribeOptions
---@param fn fun(message: naq.Message, subscription: naq.Subscription)
---@param level integer
---@return naq.Subscription? subscription, string? message, naq.Code? code
function Dispatcher:subscribe(subject, given, fn, level)
  local id = self.last + 1
  local sub, why, code = subscription.open(self.conn, subject, given, level + 1, self.core, id)
  if not sub then return nil, why, code end
  self.last = id
  sub.fn = fn
  sub.count = 0
  self.subs[id] = sub
  return sub
end

-- A subscription that ended holds nothing any more.
local function tidy(self, sub)
  if sub.closed then
    self.subs[sub.id] = nil
  elseif sub.limit and sub.count >= sub.limit then
    sub:close()
    self.subs[sub.id] = nil
  elseif sub.draining then
    local stats = sub:stats()
    if not stats.active and stats.messages == 0 then self.subs[sub.id] = nil end
  end
end

-- The messages that wait now, not those that come meanwhile: a flood must not keep the caller.
local function deliver(self, waiting)
  local ran = 0
  for _ = 1, waiting do
    if self.conn.closed then break end
    local id, m = self.core:take()
    if not id then break end
    local sub = self.subs[id]
    if sub and not sub.closed then
      ran = ran + 1
      sub.count = sub.count + 1
      sub.fn(message.wrap(m, self.conn), sub)
      tidy(self, sub)
    end
  end
  return ran
end

--- Run what waits; when there is nothing, wait for the first at most that long. An error of a function goes
--- through to the caller; what waits behind it is delivered by the next call.
---@param seconds number
---@param run_events fun(): integer  runs the functions of connection events
---@return integer ran  how many functions
function Dispatcher:run(seconds, run_events)
  local ran = run_events()
  if self.conn.closed then return ran end
  ran = ran + deliver(self, self.core:wait(ran > 0 and 0 or seconds))
  if self.conn.closed then return ran end
  return ran + run_events()
end

function Dispatcher:close()
  for _, sub in pairs(self.subs) do
    sub:close()
  end
  self.subs = {}
  self.core:close()
end

return dispatcher
