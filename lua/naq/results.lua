-- results.lua -- what became of a job: its state, its end, its result. Works on handles (job.lua).
local core = require("naq.core")
local details = require("naq.details")
local errors = require("naq.errors")
local job = require("naq.job")
local lookup = require("naq.lookup")

---@class naq.Results
---@field client naq.Client
local Results = {}
Results.__index = Results

local results = {}

---@param client naq.Client
---@return naq.Results
function results.new(client) return setmetatable({ client = client }, Results) end

---@param handle naq.Job
---@return string? state, string? message, naq.Code? code
function Results:status(handle)
  local found, message, code = lookup.locate(self.client, handle.id, handle)
  if not found then return nil, message, code end
  return found.state
end

---@param handle naq.Job
---@return table? info, string? message, naq.Code? code
function Results:info(handle)
  local info, message, code = details.find(self.client, handle.id, handle)
  return info, message, code
end

-- One wait of the core's; a wait without an end is a row of these.
local LONGEST = 3600

---@param handle naq.Job
---@param seconds number?
---@return string? state, string? message, naq.Code? code
function Results:wait(handle, seconds)
  local client = self.client
  local text, message, code
  repeat
    text, message, code = client.conn:wait_record(client.prefix, handle.id, seconds or LONGEST)
  until text or seconds or code ~= errors.TIMEOUT
  if not text then
    if code == errors.TIMEOUT then
      message = ("job %s: has not ended within %g s"):format(handle.id, seconds)
    end
    return nil, message, code
  end
  local record
  record, message, code = core.decode(text)
  if not record then return nil, message, code end
  -- A job with result_ttl 0 leaves nothing that could be read again.
  handle.ended = record
  return record.state
end

local function value_of(id, record)
  local state = record.state
  if state == "completed" then
    if record.result == nil then return core.null end
    return record.result
  end
  if state == "failed" then
    local failure = type(record.error) == "table" and record.error.message
    return nil, type(failure) == "string" and failure or ("job %s: failed"):format(id), errors.JOB_FAILED
  end
  if state == "cancelled" then return nil, ("job %s: was cancelled"):format(id), errors.JOB_CANCELLED end
  return nil, ("job %s: has not ended"):format(id), errors.NOT_FINISHED
end

---@param handle naq.Job
---@return any value, string? message, naq.Code? code
function Results:result(handle)
  local id = handle.id
  local record, message, code = lookup.record(self.client, id)
  if not record and code == errors.JOB_NOT_FOUND then
    if handle.ended then return value_of(id, handle.ended) end
    local found
    found, message, code = lookup.locate(self.client, id, handle)
    -- It may have ended between the two looks.
    if found then record = job.TERMINAL[found.state] and found.record or { state = found.state } end
  end
  if not record then return nil, message, code end
  return value_of(id, record)
end

return results
