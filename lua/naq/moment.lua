-- moment.lua -- a point in time as people write it: epoch seconds, or ISO 8601. Pure.
--
-- A date alone is its first moment. A time without a zone is UTC, wherever the program runs.
local moment = {}

local DAY = 86400

-- What the delayed store can hold.
local LATEST = 253402300800

-- Days since 1970-01-01 of a date in the Gregorian calendar.
local function days(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local floor = math.floor
  local leaps = floor(year / 4) - floor(year / 100) + floor(year / 400)
  return 365 * year + leaps + floor((153 * month - 457) / 5) + day - 719469
end

local DAYS_OF = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function valid_date(year, month, day)
  if month < 1 or month > 12 or day < 1 then return false end
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return day <= DAYS_OF[month] + (month == 2 and leap and 1 or 0)
end

-- Seconds that a zone is ahead of UTC; nil for what is none.
local function offset(zone)
  if zone == "" or zone == "Z" or zone == "z" then return 0 end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
  if not sign then
    sign, hours = zone:match("^([+-])(%d%d)$")
    minutes = "0"
  end
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then return nil end
  local seconds = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "+" and seconds or -seconds
end

local function iso(text)
  local year, month, day, rest = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)(.*)$")
  if not year then return nil end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not valid_date(year, month, day) then return nil end
  local midnight = days(year, month, day) * DAY
  if rest == "" then return midnight end
  local hour, minute, tail = rest:match("^[Tt ](%d%d):(%d%d)(.*)$")
  if not hour or tonumber(hour) > 23 or tonumber(minute) > 59 then return nil end
  local second, fraction, zone = tail:match("^:(%d%d)([.,]%d+)(.*)$")
  if not second then
    second, zone = tail:match("^:(%d%d)(.*)$")
  end
  if not second then
    second, zone = "0", tail
  end
  local ahead = offset(zone)
  if not ahead or tonumber(second) > 60 then return nil end
  local time = tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second) - ahead
  -- Without a fraction it stays an integer where there are integers.
  if fraction then time = time + tonumber("0." .. fraction:sub(2)) end
  return midnight + time
end

--- Epoch seconds of a number, of its digits, or of an ISO 8601 time.
---@param value number|string
---@return number? seconds, string? problem  "must be ..."
function moment.seconds(value)
  local seconds = value
  if type(value) == "string" then
    seconds = value:match("^%-?%d+%.?%d*$") and tonumber(value) or iso(value)
  end
  if seconds and seconds > -LATEST and seconds < LATEST then return seconds end
  local told = "must be epoch seconds or an ISO 8601 time such as 2026-01-31T12:00:00Z, not '%s'"
  return nil, told:format(tostring(value))
end

--- What is wrong with a time, or nil: a check for options.lua.
---@return string? problem
function moment.problem(value)
  local _, problem = moment.seconds(value)
  return problem
end

--- "2026-03-29T01:00:00Z", with milliseconds where there are some.
---@param seconds number
---@return string
function moment.utc(seconds)
  local whole = math.floor(seconds)
  local ms = math.floor((seconds - whole) * 1000 + 0.5)
  if ms == 1000 then
    whole, ms = whole + 1, 0
  end
  local text = os.date("!%Y-%m-%dT%H:%M:%S", whole)
  return text .. (ms > 0 and (".%03dZ"):format(ms) or "Z")
end

return moment
