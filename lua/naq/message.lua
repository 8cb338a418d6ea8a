-- message.lua -- a received message, and what can be answered to it.
--
-- The fields are plain Lua values and stay valid whatever becomes of the subscription. Answering needs the
-- connection: a message whose connection handle is closed raises.
local errors = require("naq.errors")

---@class naq.Message
---@field subject string
---@field data string                            any bytes; "" when it has none
---@field reply string?                          where an answer goes
---@field headers table<string, string|string[]> a list where a name has several values
---@field stream string?       the rest: of a message from a consumer
---@field consumer string?
---@field seq integer?         in the stream
---@field consumer_seq integer?
---@field delivered integer?   how often this message has been delivered, this time included
---@field pending integer?     how many the consumer has after this one
---@field timestamp number?    when it was stored, epoch seconds
---@field settled string?      "acked", "nacked" or "terminated" once it is
---@field conn naq.Connection
local Message = {}
Message.__index = Message
Message.__name = "naq.Message"

local message = {}

--- Make a message of the core one of a connection's.
---@param raw table
---@param conn naq.Connection
---@return naq.Message
function message.wrap(raw, conn)
  raw.conn = conn
  return setmetatable(raw, Message)
end

-- nil, message, code when an ack makes no sense.
local function refusal(self, level)
  local core = self.conn:use(level + 1)
  if not self.seq then
    local why = "message of %s: no consumer delivered it, there is nothing to ack"
    return nil, why:format(self.subject), errors.INVALID
  end
  if self.settled then
    return nil, ("message %s of stream %s: it is %s already"):format(self.seq, self.stream, self.settled),
      errors.INVALID
  end
  return core
end

local function settle(self, becomes, body, level)
  local core, why, code = refusal(self, level + 1)
  if not core then return nil, why, code end
  local done
  done, why, code = core:publish(self.reply, body)
  if not done then return nil, why, code end
  self.settled = becomes
  return true
end

local function nanoseconds(seconds, what, level)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < 1e9) then
    error(what .. " must be a number of seconds", level + 1)
  end
  return ("%.0f"):format(seconds * 1e9)
end

--- The message is done with. Not waiting: an ack that is lost means that it is delivered again. A message
--- is acked, nacked or terminated once: another attempt answers INVALID and sends nothing.
---@return true? done, string? message, naq.Code? code  INVALID
function Message:ack()
  local done, why, code = settle(self, "acked", "+ACK", 2)
  return done, why, code
end

--- The same, waiting until the server has it.
---@param seconds? number  5
---@return true? done, string? message, naq.Code? code  TIMEOUT: not known; it may be tried again
function Message:ack_sync(seconds)
  if seconds ~= nil and not (type(seconds) == "number" and seconds > 0) then
    error("a positive number of seconds expected", 2)
  end
  local core, why, code = refusal(self, 2)
  if not core then return nil, why, code end
  local answer
  answer, why, code = core:request(self.reply, "+ACK", seconds or 5)
  if not answer then return nil, why, code end
  self.settled = "acked"
  return true
end

--- Give it back: it is delivered again, after `delay` seconds where given.
---@param delay? number
---@return true? done, string? message, naq.Code? code  INVALID
function Message:nak(delay)
  local body = "-NAK"
  if delay ~= nil then body = ('-NAK {"delay": %s}'):format(nanoseconds(delay, "delay", 2)) end
  local done, why, code = settle(self, "nacked", body, 2)
  return done, why, code
end

--- Never deliver it again, though it was not done.
---@return true? done, string? message, naq.Code? code  INVALID
function Message:term()
  local done, why, code = settle(self, "terminated", "+TERM", 2)
  return done, why, code
end

--- Work on it goes on: its ack_wait begins anew.
---@return true? done, string? message, naq.Code? code  INVALID
function Message:in_progress()
  local core, why, code = refusal(self, 2)
  if not core then return nil, why, code end
  local done
  done, why, code = core:publish(self.reply, "+WPI")
  return done, why, code
end

--- Answer a request.
---@param data? string
---@param headers? table<string, string|string[]>
---@return true? done, string? message, naq.Code? code  INVALID: nobody asked
function Message:respond(data, headers)
  local core = self.conn:use(2)
  if data ~= nil and type(data) ~= "string" then error("data must be a string, not a " .. type(data), 2) end
  if not self.reply then
    return nil, ("message of %s: its sender waits for no answer"):format(self.subject), errors.INVALID
  end
  local done, why, code = core:publish(self.reply, data, headers)
  return done, why, code
end

return message
