-- explain.lua -- why a job is not running: what it waits for, the most decisive reason first.
local control = require("naq.control")
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local leader = require("naq.leader")
local lookup = require("naq.lookup")
local shape = require("naq.shape")
local workers = require("naq.workers")

local explain = {}

-- How long workers may take to answer. One that has died since its last heartbeat costs all of it.
local ANSWER_SECONDS = 0.25
-- csrc/run/lease.h
local LEASE_SECONDS = 8

---@class naq.Reason
---@field code string      one of those of docs/cli.md
---@field message string   a sentence

---@class naq.Explanation
---@field id string
---@field state string
---@field queue string?
---@field reasons naq.Reason[]

---@class naq.Explaining
---@field client naq.Client
---@field id string
---@field found naq.Found
---@field reasons naq.Reason[]
---@field live naq.WorkerInfo[]     workers whose record is fresh, those of them that serve the queue, and
---@field serving naq.WorkerInfo[]  those that do and take no more jobs
---@field leaving naq.WorkerInfo[]
---@field mute naq.WorkerInfo[]     and those that do and do not answer
---@field stale naq.WorkerInfo[]
---@field silent table<string, boolean>  live ones that do not answer
---@field running integer           jobs of the queue that run
---@field busy integer              jobs of any queue that run on the workers that serve it

local function add(self, code, fields, message, ...)
  local reason = fields or {}
  reason.code = code
  reason.message = message:format(...)
  self.reasons[#self.reasons + 1] = reason
end

local function clock(t) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(t)) end

local function moment(t)
  local seconds = t - core.now()
  if seconds <= 0 then return "now" end
  if seconds < 100 then return ("in %.0f s"):format(math.ceil(seconds)) end
  return "at " .. clock(t)
end

local function serves(worker, queue)
  for _, served in ipairs(worker.queues or {}) do
    if served == queue then return true end
  end
  return false
end

local function contains(list, id)
  for _, one in ipairs(list or {}) do
    if one == id then return true end
  end
  return false
end

-- Who lives, who answers, what of the queue runs.
local function ask(self)
  local client, queue = self.client, self.found.queue
  local list, message, code = workers.list(client)
  if not list then return nil, message, code end
  self.live, self.serving, self.leaving, self.mute, self.stale, self.silent = {}, {}, {}, {}, {}, {}
  self.running, self.busy = 0, 0
  local taking = {}
  for _, worker in ipairs(list) do
    local into = worker.stale and self.stale or self.live
    into[#into + 1] = worker
    self.silent[worker.id] = not worker.stale or nil
    if not worker.stale and serves(worker, queue) then
      into = worker.state == "stopping" and self.leaving or self.serving
      into[#into + 1] = worker
      taking[worker.id] = into == self.serving
    end
  end
  if #self.live == 0 then return true end
  local answers
  answers, message, code =
    client.conn:request_many(client.prefix .. ".w.running", "", #self.live, ANSWER_SECONDS)
  if not answers then return nil, message, code end
  for _, text in ipairs(answers) do
    local answer = core.decode(text)
    if type(answer) == "table" and answer.worker then
      self.silent[answer.worker] = nil
      for _, one in ipairs(answer.jobs or {}) do
        if one.queue == queue then self.running = self.running + 1 end
        if taking[answer.worker] then self.busy = self.busy + 1 end
      end
    end
  end
  -- Dead, frozen or cut off since its last heartbeat: whoever of them had it, they take no more.
  for i = #self.serving, 1, -1 do
    if self.silent[self.serving[i].id] then table.insert(self.mute, table.remove(self.serving, i)) end
  end
  return true
end

-- Why nobody takes its jobs.
local function look_for_worker(self)
  local queue = self.found.queue
  local function told(message, ...) add(self, "NO_WORKER", { queue = queue }, message, queue, ...) end
  if self.leaving[1] then
    return told("no worker takes jobs of queue %s: %s takes no more", self.leaving[1].id)
  elseif self.mute[1] then
    return told("no worker that answers serves queue %s: %s does not", self.mute[1].id)
  end
  for _, worker in ipairs(self.stale) do
    if serves(worker, queue) then
      return told("no live worker serves queue %s; %s has not been heard of for a while", worker.id)
    end
  end
  told("no worker serves queue %s")
end

-- What holds for the queue as a whole.
local function look_at_queue(self)
  local client, queue = self.client, self.found.queue
  local settings, message, code = control.settings(client, queue)
  local paused
  if settings then
    paused, message, code = control.paused(client, queue)
  end
  if paused == nil then return nil, message, code end
  if paused then add(self, "PAUSED", { queue = queue }, "queue %s is paused", queue) end
  if #self.serving == 0 then look_for_worker(self) end
  return true, settings
end

-- What is set in NATS, or where that says nothing in this program's configuration.
local function limit_of(self, settings, name)
  local file = self.client.config.queues.configs[self.found.queue] or {}
  local value = settings[name]
  if value == nil then value = file[name] end
  return value
end

-- Slots that a worker holds which may be gone: nobody runs a job on them, and nobody else gets them yet.
local function slots_held(self)
  local text = self.client.conn:kv_get(self.client.prefix .. "_control", self.found.queue .. ".slots")
  local record, held, by = text and core.decode(text), 0, nil
  local leases = type(record) == "table" and record.held
  for worker, lease in pairs(type(leases) == "table" and leases or {}) do
    held = held + (type(lease) == "table" and tonumber(lease.slots) or 0)
    local answers = false
    for _, one in ipairs(self.live) do
      answers = answers or one.id == worker and not self.silent[worker]
    end
    if not answers then by = worker end
  end
  return held, by
end

local function look_at_concurrency(self, settings)
  local queue, limit = self.found.queue, tonumber(limit_of(self, settings, "concurrency"))
  if not limit then return end
  local fields = { queue = queue, limit = limit, running = self.running }
  if self.running >= limit then
    add(self, "CONCURRENCY", fields, "queue %s runs %d jobs at a time, and as many run", queue, limit)
    return
  end
  local held, by = slots_held(self)
  if held >= limit and by then
    fields.worker = by
    add(self, "CONCURRENCY", fields,
      "queue %s runs %d jobs at a time, and worker %s, which does not answer, has slots of that; "
        .. "others get them %d s after its last sign of life", queue, limit, by, LEASE_SECONDS)
  end
end

local function look_at_rate(self, settings)
  local queue, rate = self.found.queue, limit_of(self, settings, "rate_limit")
  if rate and rate ~= core.null then
    local said = type(rate) == "number" and ("%g/s"):format(rate) or tostring(rate)
    add(self, "RATE_LIMIT", { queue = queue, rate_limit = rate }, "queue %s begins %s at most", queue, said)
  end
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
  local ok, message, code = ask(self)
  if not ok then return nil, message, code end
  local settings
  ok, settings, code = look_at_queue(self)
  if not ok then return nil, settings, code end
  if #self.reasons == 0 then look_at_concurrency(self, settings) end
  ok, message, code = look_at_place(self)
  if not ok then return nil, message, code end
  if #self.serving > 0 then look_at_rate(self, settings) end
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
    ok, message, code = ask(self)
  end
  if ok then
    ok, message, code = look_at_queue(self)
  end
  if not ok then return nil, message, code end
  return true
end

local function explain_running(self)
  local runner, payload = self.found.runner or {}, self.found.payload or {}
  local attempt = tonumber(runner.attempt) or tonumber(payload.attempt) or 1
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
