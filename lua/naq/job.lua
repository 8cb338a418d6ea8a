-- job.lua -- the handle of one job, and the words for its states.
--
-- A handle is one table with one field, so that a million of them are cheap: what the jobs of one queue
-- share (client, queue, priority) stands in their metatable, made once by job.class(). What a handle
-- does is done by the client's results (results.lua).
local errors = require("naq.errors")

local job = {}

--- States that a job does not leave by itself.
job.TERMINAL = { completed = true, failed = true, cancelled = true }

job.PRIORITIES = { "high", "normal", "low" }

---@class naq.Job
---@field id string
---@field queue string?     where it was put; nil for a handle made from an id alone
---@field priority string?
---@field client naq.Client
local Job = {}

--- How the job stands now: "scheduled", "pending", "running", "retry", "completed", "failed" or
--- "cancelled".
---@return string? state, string? message, naq.Code? code  JOB_NOT_FOUND, EXPIRED
function Job:status()
  local state, message, code = self.client:use(2).results:status(self)
  if state == nil then return nil, message, code end
  return state
end

--- Wait until the job has ended: woken by the end itself.
---@param seconds? number  nil: as long as it takes
---@return string? state, string? message, naq.Code? code  TIMEOUT
function Job:wait(seconds)
  if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds or seconds < 0) then
    error("job:wait() takes a number of seconds", 2)
  end
  local state, message, code = self.client:use(2).results:wait(self, seconds)
  if state == nil then return nil, message, code end
  return state
end

--- What the job returned; naq.null when it returned nothing.
---@return any value, string? message, naq.Code? code
---        NOT_FINISHED, JOB_FAILED (the message is the job's own), JOB_CANCELLED, JOB_NOT_FOUND, EXPIRED
function Job:result()
  local value, message, code = self.client:use(2).results:result(self)
  if value == nil then return nil, message, code end
  return value
end

--- Everything known about the job: attempts, times, worker, error. Shape as `naq job show --json`.
---@return table? info, string? message, naq.Code? code  JOB_NOT_FOUND, EXPIRED
function Job:info()
  local info, message, code = self.client:use(2).results:info(self)
  if info == nil then return nil, message, code end
  return info
end

--- Run the job again: one that failed, from the start with all its retries and its history kept; a retry
--- that waits for its time, now; a cancelled one, if its record kept what it was given.
---@return true? done, string? message, naq.Code? code
---        WRONG_STATE (it waits, runs, has completed, or somebody was faster), JOB_NOT_FOUND, UNDECODABLE
function Job:retry()
  local done, message, code = self.client:use(2):failed():retry_job(self)
  return done, message, code
end

--- End the job: one that waits never runs, one that runs is stopped within 100 ms (one that asks
--- job:cancelled() has 5 s to end by itself). What it returns after that counts for nothing.
---@return true? cancelled  also when it was cancelled before
---@return string? message, naq.Code? code  WRONG_STATE (it has completed or failed), JOB_NOT_FOUND, EXPIRED
function Job:cancel()
  local done, message, code = self.client:use(2):cancel_job(self)
  return done, message, code
end

--- Move a job that waits for its time to another one: epoch seconds or ISO 8601 (no zone: UTC). A time that
--- has passed is now. A retry that waits is moved as well.
---@param time number|string
---@return true? done, string? message, naq.Code? code
---        WRONG_STATE (it does not wait for a time, or is just leaving), JOB_NOT_FOUND
function Job:reschedule(time)
  local done, message, code = self.client:use(2):reschedule_job(self, time, 2)
  return done, message, code
end

--- Why the job is not running: { id, state, queue, reasons = { { code, message, ... }, ... } }.
---@return naq.Explanation? explanation, string? message, naq.Code? code  JOB_NOT_FOUND, EXPIRED
function Job:explain()
  local explanation, message, code = self.client:use(2):explain_job(self)
  return explanation, message, code
end

local function unsupported(what)
  return function() return nil, what .. " is not supported by this version", errors.UNSUPPORTED end
end

Job.logs = unsupported("reading a job's log")

--- The metatable of handles that share a client, a queue and a priority.
---@param client naq.Client
---@param queue? string
---@param priority? string
---@return table metatable  for setmetatable({ id = id }, metatable)
function job.class(client, queue, priority)
  local shared = { client = client, queue = queue, priority = priority }
  for name, method in pairs(Job) do
    shared[name] = method
  end
  return {
    __name = "naq.Job",
    __index = shared,
    __tostring = function(self) return "naq.Job " .. self.id end,
  }
end

return job
