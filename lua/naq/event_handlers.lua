-- event_handlers.lua -- what a program wants to be called for when something happens to a connection by
-- itself. Threads of libnats number the events; the functions run on the program's own thread, when it
-- asks for that.
local options = require("naq.options")

local NAMES = {
  disconnected = {}, -- its server is lost; it reconnects by itself
  reconnected = {},
  slow_consumer = {}, -- a subscription's messages are being dropped
  lame_duck = {}, -- the server is about to shut down
  closed = {}, -- for good: reconnecting was given up, or the pool closed it
  error = {}, -- anything else that the server complains of
}

---@class naq.ConnectionEvent
---@field event "disconnected"|"reconnected"|"slow_consumer"|"lame_duck"|"closed"|"error"
---@field message string  a sentence
---@field time number     epoch seconds

---@class naq.EventHandlers
local Handlers = {}
Handlers.__index = Handlers

local event_handlers = {}

---@return naq.EventHandlers
function event_handlers.new() return setmetatable({ by_name = {}, any = false }, Handlers) end

--- Several functions for one event run in the order in which they were added.
---@param conn naq.Connection
---@param name string
---@param fn fun(event: naq.ConnectionEvent)
---@param level integer
function Handlers:add(conn, name, fn, level)
  if NAMES[name] == nil then
    error((options.unknown(NAMES, name):gsub("^unknown option", "unknown event")), level + 1)
  end
  if type(fn) ~= "function" then error("a function expected, not a " .. type(fn), level + 1) end
  while not self.any and conn.core:next_event() do -- what happened before somebody asked
  end
  local list = self.by_name[name] or {}
  list[#list + 1] = fn
  self.by_name[name], self.any = list, true
end

--- Call the functions for what has happened. Events that nobody wants are passed over.
---@param conn naq.Connection
---@return integer ran
function Handlers:run(conn)
  local ran = 0
  while self.any and not conn.closed do
    local name, message, time = conn.core:next_event()
    if not name then break end
    for _, fn in ipairs(self.by_name[name] or {}) do
      ran = ran + 1
      fn({ event = name, message = message, time = time })
    end
  end
  return ran
end

return event_handlers
