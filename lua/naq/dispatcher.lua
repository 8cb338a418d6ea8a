-- dispatcher.lua -- the functions of a connection's subscriptions, run on the program's own thread when it
-- asks for that. Threads of libnats put messages into the core's dispatcher; they never see Lua.
local core = require("naq.core")
local errors = require("naq.errors")
local message = require("naq.message")
local subscription = require("naq.subscription")

-- How often draining looks whether the server has sent its last.
local LOOK_SECONDS = 0.02

---@class naq.Dispatcher
local Dispatcher = {}
Dispatcher.__index = Dispatcher

local dispatcher = {}

---@param conn naq.Connection
---@return naq.Dispatcher? dispatcher, string? message, naq.Code? code
function dispatcher.new(conn)
  local handle, why, code = conn.core:dispatcher()
  if not handle then return nil, why, code end
  return setmetatable({ conn = conn, core = handle, subs = {}, last = 0 }, Dispatcher)
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
  sub.forget = function() self.subs[id] = nil end
  self.subs[id] = sub
  return sub
end

-- A subscription that ended by itself is closed, and so held no longer.
local function tidy(sub)
  if sub.closed then return end
  if sub.limit and sub.count >= sub.limit then
    sub:close()
  elseif sub.draining then
    local stats = sub:stats()
    if not stats.active and stats.messages == 0 then sub:close() end
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
      tidy(sub)
    end
  end
  return ran
end

--- Run what waits; when there is nothing, wait for the first at most that long. An error of a function goes
--- through to the caller; what waits behind it is delivered by the next call.
---@param seconds number
---@param run_events fun(): integer  runs the functions of connection events
---@return integer? ran, string? message, naq.Code? code  how many functions; FORKED
function Dispatcher:run(seconds, run_events)
  local ran = run_events()
  if self.conn.closed then return ran end
  local waiting, why, code = self.core:wait(ran > 0 and 0 or seconds)
  if not waiting then return nil, why, code end
  ran = ran + deliver(self, waiting)
  if self.conn.closed then return ran end
  return ran + run_events()
end

--- Ask for no more messages and run what has come or is on its way, until nothing is left.
---@param deadline number  on the clock of core.mono()
---@param run_events fun(): integer
---@return true? done, string? message, naq.Code? code  TIMEOUT; CONNECTION: lost, and not back in time
function Dispatcher:drain(deadline, run_events)
  for _, sub in pairs(self.subs) do
    if not sub.closed and not sub.draining then
      local done, why, code = sub:drain(math.max(deadline - core.mono(), 0))
      if not done then return nil, why, code end
    end
  end
  while not self.conn.closed do
    for _, sub in pairs(self.subs) do
      tidy(sub)
    end
    if next(self.subs) == nil then return true end
    local left = deadline - core.mono()
    if left <= 0 then return nil, "draining: messages were left when the time was over", errors.TIMEOUT end
    self:run(math.min(left, LOOK_SECONDS), run_events)
  end
  return true
end

function Dispatcher:close()
  for _, sub in pairs(self.subs) do
    sub:close()
  end
  self.subs = {}
  self.core:close()
end

return dispatcher
