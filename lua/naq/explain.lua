-- explain.lua -- why a job is not running: what it waits for, the most decisive reason first.
local core = require("naq.core")
local errors = require("naq.errors")
local explain_queue = require("naq.explain_queue")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local leader = require("naq.leader")
local lookup = require("naq.lookup")
local shape = require("naq.shape")

local explain = {}

local add, serves = explain_queue.add, explain_queue.serves

local function clock(t) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(t)) end

local function moment(t)
  local seconds = t - core.now()
  if seconds <= 0 then return "now" end
  if seconds < 100 then return ("in %.0f s"):format(math.ceil(seconds)) end
  return "at " .. clock(t)
end

local function contains(list, id)
  for _, one in ipairs(list or {}) do
    if one == id then return true end
  end
  return false
end

-- The worker that was given the job and is not there any more, by its id and record, or those that may be.
local function lost_workers(self)
  local record = lookup.record(self.client, self.id)
  local claimed = record and record.state == "running" and record.worker
  local function had(worker) return worker.id == claimed or contains(worker.running, self.id) end
  for _, worker in ipairs(self.stale) do
    if had(worker) then return { worker.id }, worker end
  end
  local silent = {}
  for _, worker in ipairs(self.live) do
    if had(worker) then return self.silent[worker.id] and { worker.id } or {} end
    -- It may have begun the job since its last heartbeat.
    if self.silent[worker.id] and serves(worker, self.found.queue) then silent[#silent + 1] = worker.id end
  end
  if claimed then return { claimed } end
  return silent
end

-- It was given to a worker and does not run: was it lost with the worker? Leases are renewed while the worker
-- lives: until the heartbeat that it missed, at the latest.
local function look_at_lease(self, ack_wait)
  local lost, record = lost_workers(self)
  if #lost == 0 then return end
  local ends_at = core.now() + ack_wait
  if record then
    local missed = (tonumber(record.seen_at) or 0) + (tonumber(record.heartbeat_interval) or 15)
    ends_at = math.min(ends_at, missed + ack_wait)
  end
  add(self, "WORKER_GONE", { worker = #lost == 1 and lost[1] or nil, lease_ends_at = ends_at },
    "worker %s had it and does not answer; it runs elsewhere when its lease ends, %s at the latest",
    table.concat(lost, " or "), moment(ends_at))
end

local function consumer_info(self, priority)
  local consumer = ("%s_jobs.%s_%s"):format(self.client.prefix, self.found.queue, priority)
  local info, message, code = jetstream_api.call(self.client.conn, "CONSUMER.INFO", consumer)
  if info then return info end
  if code == errors.KEY_NOT_FOUND then return false end
  return nil, message, code
end

-- How many stand before it, at most. The server counts what a consumer has left and what it gave to workers,
-- not where a job stands in that.
local function look_at_place(self)
  local found, ahead = self.found, 0
  for _, priority in ipairs(job.PRIORITIES) do
    local info, message, code = consumer_info(self, priority)
    if info == nil then return nil, message, code end
    local left = info and (info.num_pending or 0) or 0
    local taken = info and (info.num_ack_pending or 0) or 0
    if priority == found.priority then
      if not info then return true end -- never served
      local between = tonumber(found.seq) - (tonumber(info.delivered.stream_seq) or 0) - 1
      local given = between < 0
      if given and taken > 0 then look_at_lease(self, info.config.ack_wait / 1e9) end
      ahead = ahead + (given and taken - 1 or math.min(between, left - 1) + taken)
      break
    end
    ahead = ahead + left + taken
  end
  local threads = 0
  for _, worker in ipairs(self.serving) do
    threads = threads + (worker.threads or 0)
  end
  ahead = math.max(0, ahead - self.running)
  if #self.reasons > 0 or #self.serving == 0 then return true end
  if self.busy >= threads and self.busy > self.running then
    add(self, "BUSY", { running = self.busy, threads = threads },
      "the workers that serve queue %s run %d jobs, of other queues too, on %d threads", found.queue,
      self.busy, threads)
  end
  if ahead > 0 or self.running > 0 then
    add(self, "BEHIND", { ahead = ahead, running = self.running, threads = threads },
      "it is behind at most %d others; of queue %s %d run, on %d threads", ahead, found.queue, self.running,
      threads)
  end
  return true
end

local function last_failure(self)
  local attempts = shape.attempts((self.found.payload or {}).attempts) or {}
  return attempts[#attempts]
end

local function explain_pending(self)
  local ok, message, code = explain_queue.ask(self)
  if not ok then return nil, message, code end
  local settings
  ok, settings, code = explain_queue.look(self)
  if not ok then return nil, settings, code end
  if #self.reasons == 0 then explain_queue.look_at_concurrency(self, settings) end
  ok, message, code = look_at_place(self)
  if not ok then return nil, message, code end
  if #self.serving > 0 then explain_queue.look_at_rate(self, settings) end
  if #self.reasons == 0 then add(self, "NEXT", nil, "nothing holds it: it is about to begin") end
  return true
end

-- Nothing but a scheduler takes a job out of the delayed store. Once it is due that is the first reason.
local function look_for_scheduler(self)
  local found, message, code = leader.find(self.client)
  if code then return nil, message, code end
  if found then return true end
  add(self, "NO_SCHEDULER", nil, "no scheduler leads, and nobody else puts it on its queue")
  if (self.found.due or 0) <= core.now() then table.insert(self.reasons, 1, table.remove(self.reasons)) end
  return true
end

local function explain_delayed(self)
  local found = self.found
  local failure = found.state == "retry" and last_failure(self)
  local attempt = shape.count((found.payload or {}).attempt, 1) or 1
  local at = found.due or core.now()
  if failure and failure.code == errors.UNKNOWN_JOB then
    add(self, "UNKNOWN_JOB", { job = found.payload.job, run_at = found.due, attempt = attempt },
      "worker %s does not know job %s; attempt %d begins %s", tostring(failure.worker),
      tostring(found.payload.job), attempt, moment(at))
  elseif failure then
    add(self, "RETRY", {
      run_at = found.due, attempt = attempt, error = { code = failure.code, message = failure.message },
    }, "attempt %d failed: %s (%s); the next one begins %s", attempt - 1, tostring(failure.message),
      tostring(failure.code), moment(at))
  else
    add(self, "SCHEDULED", { run_at = found.due }, "its time comes %s", moment(at))
  end
  local ok, message, code = look_for_scheduler(self)
  if ok and not found.queue then return true end
  if ok then
    ok, message, code = explain_queue.ask(self)
  end
  if ok then
    ok, message, code = explain_queue.look(self)
  end
  if not ok then return nil, message, code end
  return true
end

local function explain_running(self)
  local runner, payload = self.found.runner or {}, self.found.payload
  local attempt = payload and (tonumber(payload.attempt) or 1)
  add(self, "RUNNING", { worker = runner.worker, started_at = runner.started_at, attempt = attempt },
    "it runs, on worker %s", tostring(runner.worker))
  return true
end

local function explain_ended(self)
  local record = self.found.record
  local at = shape.time(record.finished_at)
  local when = at and " at " .. clock(at) or ""
  if record.state == "failed" then
    local failure = shape.failure(record.error) or {}
    add(self, "FAILED", { finished_at = at, reason = record.reason, error = failure },
      "it has failed%s and is a dead letter (%s): %s", when, tostring(record.reason),
      tostring(failure.message))
  elseif record.state == "completed" then
    add(self, "COMPLETED", { finished_at = at }, "it has completed%s", when)
  else
    add(self, "CANCELLED", { finished_at = at }, "it was cancelled%s", when)
  end
  return true
end

local BY_STATE = {
  pending = explain_pending,
  retry = explain_delayed,
  scheduled = explain_delayed,
  running = explain_running,
}

--- Why a job is not running.
---@param client naq.Client
---@param handle naq.Job
---@return naq.Explanation? explanation, string? message, naq.Code? code  JOB_NOT_FOUND, EXPIRED
function explain.job(client, handle)
  local found, message, code = lookup.locate(client, handle.id, handle)
  if not found then return nil, message, code end
  local self = { client = client, id = handle.id, found = found, reasons = {} }
  local ok
  ok, message, code = (BY_STATE[found.state] or explain_ended)(self)
  if not ok then return nil, message, code end
  return {
    id = handle.id,
    state = found.state,
    queue = found.queue,
    reasons = self.reasons,
  }
end

return explain
