-- moment.lua: a point in time as the user types it: epoch seconds, ISO 8601 (no zone: UTC), or so long
-- ago: 90s, 15m, 2h, 7d.

local moment = {}

local UNITS = { s = 1, m = 60, h = 3600, d = 86400 }

-- Days since 1970-01-01 of a date in the Gregorian calendar.
local function days(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469
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
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then return nil end
  local seconds = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "+" and seconds or -seconds
end

local function iso(text)
  local year, month, day, rest = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)(.*)$")
  if not year then return nil end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not valid_date(year, month, day) then return nil end
  if rest == "" then return days(year, month, day) * 86400 end
  local hour, minute, tail = rest:match("^[T ](%d%d):(%d%d)(.*)$")
  if not hour or tonumber(hour) > 23 or tonumber(minute) > 59 then return nil end
  local second, zone = tail:match("^:(%d%d%.?%d*)(.*)$")
  if not second then
    second, zone = "0", tail
  end
  local ahead = offset(zone)
  if not ahead or tonumber(second) >= 61 then return nil end
  local time = tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
  return days(year, month, day) * 86400 + time - ahead
end

--- Epoch seconds, or nil and what is wrong: a converter for parser.lua.
---@param text string
---@param now number?   core.now()
---@return number? seconds, string? problem
function moment.parse(text, now)
  local amount, unit = text:match("^(%d+%.?%d*)([smhd])$")
  if amount then return (now or require("naq.core").now()) - tonumber(amount) * UNITS[unit] end
  local seconds = text:match("^%d+%.?%d*$") and tonumber(text) or iso(text)
  if seconds then return seconds end
  local told = "'%s' is no time: epoch seconds, 2026-01-31T12:00:00Z, or so long ago: 90s, 15m, 2h, 7d"
  return nil, told:format(text)
end

return moment
