-- kv_watcher.lua -- a bucket as it changes: what kv:watch() returns.
--
-- Events are tables. { operation = "put", key, value, revision, created }; "delete" and "purge" have no
-- value. Two have no key: "up_to_date", once all that stood in the bucket has come, and "reset": the bucket
-- was deleted and made anew, or lost its memory, and is told again from the beginning.
local core = require("naq.core")
local errors = require("naq.errors")

---@class naq.KVEvent
---@field operation "put"|"delete"|"purge"|"up_to_date"|"reset"
---@field key string?
---@field value string?
---@field revision integer?
---@field created number?  epoch seconds

---@class naq.KVWatcher
local Watcher = {}
Watcher.__index = Watcher
Watcher.__name = "naq.KVWatcher"

local kv_watcher = {}

-- A wait without limit is cut, so that hooks and signal handlers of the interpreter run in between.
local SLICE = 1

---@param handle userdata  the core's watch, which is the new object's from now on
---@return naq.KVWatcher
function kv_watcher.new(handle) return setmetatable({ core = handle }, Watcher) end

local function use(self, level)
  return self.core or error("this watcher is stopped", level + 1)
end

local function check_seconds(seconds, level)
  if seconds ~= nil and not (type(seconds) == "number" and seconds >= 0 and seconds < 1e9) then
    error("a number of seconds expected", level + 1)
  end
end

local function wait(handle, seconds)
  if seconds then return handle:next(seconds) end
  local event, message, code
  repeat
    event, message, code = handle:next(SLICE)
  until code ~= errors.TIMEOUT
  return event, message, code
end

--- The next event, waiting at most so many seconds (0: only what is here already; nil: without limit).
--- While the connection is away, it waits too; a watcher goes on behind the last event.
---@param seconds? number
---@return naq.KVEvent? event, string? message, naq.Code? code  TIMEOUT; CONFIGURATION: the bucket is gone
function Watcher:next(seconds)
  check_seconds(seconds, 2)
  local event, message, code = wait(use(self, 2), seconds)
  return event, message, code
end

--- Iterate: `for event in watcher:each() do`. Ends when nothing came for so many seconds, when the
--- watcher was stopped in the loop, or at an error.
---@param seconds? number  nil: without limit
---@return fun(): naq.KVEvent?
function Watcher:each(seconds)
  check_seconds(seconds, 2)
  use(self, 2)
  return function()
    if not self.core then return nil end
    return (wait(self.core, seconds))
  end
end

--- Call fn(event) for each event until so many seconds have passed, or fn returns false, or stops the
--- watcher. On the thread that calls, in its own time: nothing is called behind its back.
---@param seconds number
---@param fn fun(event: naq.KVEvent): any
---@return integer? count, string? message, naq.Code? code  how many events
function Watcher:dispatch(seconds, fn)
  if type(seconds) ~= "number" then error("a number of seconds expected", 2) end
  check_seconds(seconds, 2)
  if type(fn) ~= "function" then error("a function expected, not a " .. type(fn), 2) end
  local handle, count = use(self, 2), 0
  local deadline = core.mono() + seconds
  while self.core do
    local event, message, code = handle:next(math.max(deadline - core.mono(), 0))
    if event then
      count = count + 1
      if fn(event) == false then break end
    elseif code == errors.TIMEOUT then
      break
    else
      return nil, message, code
    end
  end
  return count
end

--- End it. Safe twice. Closing the connection does it as well, and so does the collector in its own time.
function Watcher:stop()
  local handle = self.core
  self.core = nil
  if handle then handle:close() end
end

Watcher.close = Watcher.stop -- what a connection calls when it is closed
Watcher.__close = Watcher.stop

return kv_watcher
