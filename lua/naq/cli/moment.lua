-- moment.lua: a point in time as the user types it: epoch seconds, ISO 8601 (no zone: UTC), or so long
-- ago: 90s, 15m, 2h, 7d.

local naq_moment = require("naq.moment")

local moment = {}

local UNITS = { s = 1, m = 60, h = 3600, d = 86400 }

--- Epoch seconds, or nil and what is wrong: a converter for parser.lua.
---@param text string
---@param now number?   core.now()
---@return number? seconds, string? problem
function moment.parse(text, now)
  local amount, unit = text:match("^(%d+%.?%d*)([smhd])$")
  if amount then return (now or require("naq.core").now()) - tonumber(amount) * UNITS[unit] end
  local seconds = naq_moment.seconds(text)
  if seconds then return seconds end
  local told = "'%s' is no time: epoch seconds, 2026-01-31T12:00:00Z, or so long ago: 90s, 15m, 2h, 7d"
  return nil, told:format(text)
end

--- The same for times to come, where "ago" makes no sense.
---@param text string
---@return number? seconds, string? problem
function moment.point(text)
  local seconds = naq_moment.seconds(text)
  if seconds then return seconds end
  return nil, ("'%s' is no time: epoch seconds, or 2026-01-31T12:00:00Z (no zone: UTC)"):format(text)
end

return moment
