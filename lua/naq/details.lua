-- details.lua -- everything known about a job, in the shape of `naq job show --json`.
local core = require("naq.core")
local id_rule = require("naq.id_rule")
local lookup = require("naq.lookup")
local shape = require("naq.shape")

local details = {}

-- The payload of a dead letter, for its args.
local function dead_letter_payload(client, id, queue)
  if not queue then return nil end
  local subject = ("%s.f.%s.%s"):format(client.prefix, queue, id)
  local text = client.conn:last_msg(client.prefix .. "_failed", subject)
  local letter = text and core.decode(text)
  return type(letter) == "table" and type(letter.payload) == "table" and letter.payload or nil
end

---@class naq.JobInfo   as `naq job show --json`; absent: not known
---@field id string
---@field job string?
---@field queue string?
---@field priority string?
---@field state string
---@field attempt integer?
---@field max_retries integer?
---@field enqueued_at number?
---@field run_at number?
---@field started_at number?
---@field finished_at number?
---@field worker string?
---@field args any
---@field result any
---@field error {code: string, message: string, traceback: string?}?
---@field attempts table[]?
---@field attempts_cut integer?

--- What was found of a job, in the shape that is shown.
---@param id string
---@param found naq.Found
---@return naq.JobInfo
function details.of(id, found)
  local record = found.record or {}
  local payload = found.payload
  if found.state == "cancelled" then payload = record.payload end
  payload = type(payload) == "table" and payload or {}
  local runner = found.runner or record
  local attempts = shape.attempts(record.attempts) or shape.attempts(payload.attempts)
  local shown = {
    id = id,
    job = shape.text(record.job) or shape.text(payload.job),
    queue = shape.text(found.queue),
    priority = shape.text(found.priority),
    state = found.state,
    attempt = shape.count(runner.attempt, 1) or shape.count(payload.attempt, 1),
    max_retries = shape.count(record.max_retries) or shape.count(payload.max_retries),
    enqueued_at = shape.time(record.enqueued_at) or shape.time(payload.enqueued_at) or found.stored_at,
    run_at = found.due,
    started_at = shape.time(runner.started_at),
    finished_at = shape.time(record.finished_at),
    worker = shape.text(runner.worker),
    args = payload.args,
    error = shape.failure(record.error),
    attempts = attempts,
    attempts_cut = shape.count(record.attempts_cut, 1) or shape.count(payload.attempts_cut, 1),
  }
  if found.state == "completed" then shown.result = record.result end
  if found.payload and not shown.attempt then shown.attempt = 1 end
  if not shown.error and attempts then shown.error = shape.failure(attempts[#attempts]) end
  return shown
end

--- Everything known about a job by its id.
---@param client naq.Client
---@param id string
---@param hint? {queue: string?, priority: string?}
---@return naq.JobInfo? shown, string? message, naq.Code? code  JOB_NOT_FOUND, EXPIRED, INVALID
function details.find(client, id, hint)
  local found, message, code = id_rule.of_job(id)
  if not found then return nil, message, code end
  found, message, code = lookup.locate(client, id, hint)
  if not found then return nil, message, code end
  local shown = details.of(id, found)
  if found.state == "failed" then
    local payload = dead_letter_payload(client, id, found.queue)
    shown.args = payload and payload.args
  end
  return shown
end

return details
