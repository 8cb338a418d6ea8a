-- shape.lua -- what any NATS client may have written (payloads, records, letters): each member as it should
-- be, or absent. Whoever shows a job need not look at types any more. Pure.
local core = require("naq.core")

local shape = {}

-- The end of the year 9999: no later time can be printed.
local LATEST = 253402300799
local EXACT = 2 ^ 53
local to_integer = math.tointeger or function(n) return n end -- luacheck: ignore 143

---@return string?
function shape.text(value)
  if type(value) == "string" then return value end
  return nil
end

--- Epoch seconds.
---@return number?
function shape.time(value)
  if type(value) == "number" and value >= 0 and value <= LATEST then return value end
  return nil
end

--- A whole number from `least` (0) on.
---@param least? integer
---@return integer?
function shape.count(value, least)
  if type(value) ~= "number" or value % 1 ~= 0 then return nil end
  if value < (least or 0) or value > EXACT then return nil end
  return to_integer(value)
end

--- How something failed; nil when it does not say.
---@return {code: string?, message: string?, traceback: string?}?
function shape.failure(value)
  if type(value) ~= "table" then return nil end
  local code, message = shape.text(value.code), shape.text(value.message)
  if not code and not message then return nil end
  return { code = code, message = message, traceback = shape.text(value.traceback) }
end

--- Failed attempts, without those that are none.
---@return table[]? attempts
function shape.attempts(list)
  if type(list) ~= "table" then return nil end
  local attempts = core.array({})
  for i = 1, #list do
    local one = list[i]
    if type(one) == "table" then
      attempts[#attempts + 1] = {
        attempt = shape.count(one.attempt),
        worker = shape.text(one.worker),
        started_at = shape.time(one.started_at),
        finished_at = shape.time(one.finished_at),
        code = shape.text(one.code),
        message = shape.text(one.message),
        traceback = shape.text(one.traceback),
      }
    end
  end
  return attempts
end

return shape
