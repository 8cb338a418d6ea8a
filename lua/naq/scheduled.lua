-- scheduled.lua -- what was scheduled, by its id alone: a recurring schedule, or else the job of that id. For
-- the names of the Python library, which knew one kind of both.
local core = require("naq.core")
local errors = require("naq.errors")

local scheduled = {}

-- What with_schedule(schedule) or with_job(job) comes to; KEY_NOT_FOUND: there is neither.
local function on(client, id, level, with_schedule, with_job)
  local schedule, message, code = client:schedule_at(id, nil, level + 1)
  local done, why
  if schedule then
    done, message, code = with_schedule(schedule)
    return done, message, code
  end
  local searched = code == errors.KEY_NOT_FOUND or code == errors.INVALID
  if not searched or not core.valid_id(id) then return nil, message, code end
  done, why, code = with_job(client:job(id))
  if code ~= errors.JOB_NOT_FOUND then return done, why, code end
  return nil, message, errors.KEY_NOT_FOUND
end

--- End it. Raises at `level` (1: the calling function).
---@param client naq.Client
---@param id string
---@param level integer
---@return naq.ScheduleInfo|true|nil done, string? message, naq.Code? code  true: a job
function scheduled.cancel(client, id, level)
  local function cancel(found)
    local done, message, code = found:cancel()
    return done, message, code
  end
  local done, message, code = on(client, id, level + 1, cancel, cancel)
  return done, message, code
end

--- Change it; a job has but next_run.
---@param client naq.Client
---@param id string
---@param changes table
---@param level integer
---@return naq.ScheduleInfo|true|nil done, string? message, naq.Code? code  true: a job
function scheduled.modify(client, id, changes, level)
  local done, message, code = on(client, id, level + 1, function(schedule)
    local row, problem, why = schedule:modify_at(changes, level + 3)
    return row, problem, why
  end, function(job)
    local time = type(changes) == "table" and changes.next_run
    if not time or next(changes, next(changes)) then
      local told = "job %s waits for its time: it has next_run, and nothing else to be changed"
      return nil, told:format(id), errors.INVALID
    end
    local moved, problem, why = client:reschedule_job(job, time, level + 3)
    return moved, problem, why
  end)
  return done, message, code
end

return scheduled
