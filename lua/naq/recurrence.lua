-- recurrence.lua -- when a schedule runs: a cron expression in a zone, or an interval from an anchor. Pure.
--
-- The scheduler computes the same in C (csrc/run/recurrence.c); here it is for what is refused and shown
-- before a scheduler has looked.
local core = require("naq.core")
local errors = require("naq.errors")

local recurrence = {}

local function ms_of(seconds) return math.floor(seconds * 1000 + 0.5) end

local function next_interval(spec, after)
  local anchor, step, now = ms_of(spec.anchor), ms_of(spec.interval), math.floor(after * 1000)
  local k = math.floor((now - anchor) / step) + 1
  -- Anchored at starts_at it runs there; anchored at its making, an interval later.
  k = math.max(k, spec.starts_at and 0 or 1)
  return (anchor + k * step) / 1000
end

--- The first time strictly after `after`; nil alone: there is none any more.
---@param spec table  of a record: cron, timezone; or interval, anchor; starts_at, ends_at
---@param after number
---@return number? next, string? message, naq.Code? code  INVALID, with the position of the fault
function recurrence.next(spec, after)
  local found
  if spec.cron then
    -- Whole seconds: one before the first that counts.
    if spec.starts_at and spec.starts_at > after then after = math.ceil(spec.starts_at) - 1 end
    local times, message, code = core.cron_next(spec.cron, spec.timezone, after, 1)
    if not times then return nil, message, code end
    found = times[1]
  else
    found = next_interval(spec, after)
  end
  if not found or (spec.ends_at and found > spec.ends_at) then return nil end
  return found
end

--- What a definition says about time, checked: INVALID for an expression, a zone or an end that cannot be.
---@return true? ok, string? message, naq.Code? code
function recurrence.check(spec)
  if spec.cron then
    local times, message, code = core.cron_next(spec.cron, spec.timezone, 0, 1)
    if not times then return nil, message, code end
  end
  if spec.starts_at and spec.ends_at and spec.ends_at < spec.starts_at then
    return nil, "ends_at lies before starts_at", errors.INVALID
  end
  return true
end

return recurrence
