-- testing_store.lua -- the jobs of a test: what waits, for which time, and what became of it. Its clock
-- stands still until it is moved.
local attempt = require("naq.attempt")
local core = require("naq.core")
local errors = require("naq.errors")
local job = require("naq.job")
local policy = require("naq.policy")
local testing_run = require("naq.testing_run")

local Store = {}
Store.__index = Store

local testing_store = {}

local MARKS = { snooze = {}, discard = {} }
local RANK = { high = 1, normal = 2, low = 3 }
-- More attempts than this in one run() are a loop: jobs that enqueue themselves, or snooze for no time.
local MOST_ATTEMPTS = 20000

--- What job:snooze() and job:discard() return first in a test.
testing_store.MARKS = MARKS

---@param options {built: naq.Runner, limits: table, now: number, inline: boolean, result_ttl: number}
function testing_store.new(options)
  local self = setmetatable({
    built = options.built,
    limits = options.limits,
    time = options.now,
    inline = options.inline,
    result_ttl = options.result_ttl,
    list = {},
    open = {},
    by_id = {},
    attempts = 0,
  }, Store)
  self.handles = attempt.class({
    snooze = MARKS.snooze,
    discard = MARKS.discard,
    cancelled = function() return self.running ~= nil and self.running.state == "cancelled" end,
    client = function() return self.client end,
  })
  return self
end

local function open(self, one)
  if not one.open then self.open[#self.open + 1] = one end
  one.open = true
end

--- A job was enqueued. False: there is one of that id.
function Store:accept(queue, priority, id, payload, due)
  if self.by_id[id] then return false end
  local decoded = assert(core.decode(payload))
  local one = {
    id = id, queue = queue, priority = priority, name = decoded.job, text = payload, payload = decoded,
    state = due and "scheduled" or "pending", run_at = due, enqueued_at = self.time, attempt = 1,
    attempts = {},
    max_retries = decoded.max_retries,
  }
  self.list[#self.list + 1] = one
  open(self, one)
  self.by_id[id] = one
  one.order = #self.list
  if self.inline and not due and not self.running then self:run() end
  return true
end

local WAITS = { pending = true, scheduled = true, retry = true }

local function waits(one) return WAITS[one.state] end

-- Which of two that are due a worker takes first.
local function before(a, b)
  if RANK[a.priority] ~= RANK[b.priority] then return RANK[a.priority] < RANK[b.priority] end
  local at_a, at_b = a.run_at or 0, b.run_at or 0
  if at_a ~= at_b then return at_a < at_b end
  return a.order < b.order
end

-- Those that wait, without looking at all that ever were.
local function waiting(self)
  local kept = {}
  for _, one in ipairs(self.open) do
    one.open = waits(one)
    if one.open then kept[#kept + 1] = one end
  end
  self.open = kept
  return kept
end

local function next_due(self)
  local found
  for _, one in ipairs(waiting(self)) do
    local due = not one.run_at or one.run_at <= self.time
    if due and (not found or before(one, found)) then found = one end
  end
  return found
end

--- When the next job that waits is due; nil: none does.
function Store:next_time()
  local at
  for _, one in ipairs(waiting(self)) do
    if not at or (one.run_at or 0) < at then at = one.run_at or 0 end
  end
  return at
end

local function fail(self, one, outcome, started)
  table.insert(one.attempts, {
    attempt = one.attempt, worker = "naq.testing", started_at = started, finished_at = self.time,
    code = outcome.code, message = outcome.message, traceback = outcome.traceback,
  })
  local delay, retries
  if outcome.did ~= "discard" then
    delay, retries =
      self.built.decide(one.name, one.queue, one.text, one.attempt, outcome.message, outcome.code)
    one.max_retries = retries
  end
  if delay then
    one.state, one.run_at, one.attempt = "retry", self.time + delay, one.attempt + 1
    return
  end
  one.state, one.run_at, one.reason, one.finished_at = "failed", nil, outcome.reason, self.time
  one.error = { code = outcome.code, message = outcome.message, traceback = outcome.traceback }
end

local function succeed(self, one, outcome)
  local ttl = one.payload.result_ttl or outcome.result_ttl or self.result_ttl
  one.state, one.run_at, one.finished_at, one.result = "completed", nil, self.time, outcome.result
  one.gone = ttl == 0
end

local function run_one(self, one)
  self.attempts = self.attempts + 1
  one.state, one.started_at, one.worker = "running", self.time, "naq.testing"
  local handle = setmetatable({
    id = one.id, name = one.name, queue = one.queue, attempt = one.attempt, enqueued_at = one.enqueued_at,
    max_retries = one.payload.max_retries,
    trace = core.valid_traceparent(one.payload.trace) and one.payload.trace or nil,
  }, self.handles)
  local outer = self.running
  self.running = one
  -- Arguments are decoded for each attempt: what one does to them is not seen by the next.
  one.payload = assert(core.decode(one.text))
  local host = { marks = MARKS, limits = self.limits, max_result = 1048576 - 1024 }
  local outcome = testing_run.attempt(self.built, one, handle, host)
  self.running = outer
  if one.state == "cancelled" then return end
  open(self, one) -- it may wait again
  if outcome.did == "snooze" then
    one.state, one.run_at = "retry", self.time + outcome.seconds
  elseif outcome.did == "return" then
    succeed(self, one, outcome)
  else
    fail(self, one, outcome, one.started_at)
  end
end

--- Run all that is due, and what those jobs enqueue.
---@param enough? fun(): boolean  stop when it says so
---@return integer attempts
function Store:run(enough)
  local count = 0
  while not (enough and enough()) do
    local one = next_due(self)
    if not one then break end
    run_one(self, one)
    count = count + 1
    if count > MOST_ATTEMPTS then
      local message = "naq.testing: %d attempts and no end; job %s enqueues or snoozes for ever"
      error(message:format(count, one.name), 0)
    end
  end
  return count
end

--- Move the clock, running what becomes due on the way, each at its time.
---@return integer attempts
function Store:advance(seconds, enough)
  local target, count = self.time + seconds, self:run(enough)
  while not (enough and enough()) do
    local at = self:next_time()
    if not at or at > target then break end
    self.time = math.max(at, self.time)
    count = count + self:run(enough)
  end
  if not (enough and enough()) and target < math.huge then self.time = target end
  return count
end

--- Forget all jobs.
function Store:clear()
  self.list, self.open, self.by_id = {}, {}, {}
end

-- What a client asks of a job's handle: the interface of results.lua.

local function known(self, handle)
  local one = self.by_id[handle.id]
  if one and not one.gone then return one end
  return nil, ("job %s: there is none"):format(handle.id), errors.JOB_NOT_FOUND
end

function Store:status(handle)
  local one, message, code = known(self, handle)
  if not one then return nil, message, code end
  return one.state
end

function Store:info(handle)
  local one, message, code = known(self, handle)
  if not one then return nil, message, code end
  local info = {
    job = one.name, args = one.payload.args, max_retries = one.max_retries or policy.DEFAULTS.max_retries,
    result = one.result and core.decode(one.result),
  }
  for _, name in ipairs({
    "id", "queue", "priority", "state", "attempt", "enqueued_at", "run_at", "started_at", "finished_at",
    "worker", "error", "attempts", "reason",
  }) do
    info[name] = one[name]
  end
  return info
end

--- Waiting moves the clock: to the job's end, or by so many seconds.
function Store:wait(handle, seconds)
  local one = self.by_id[handle.id]
  if not one then return known(self, handle) end
  self:advance(seconds or math.huge, function() return job.TERMINAL[one.state] ~= nil end)
  if job.TERMINAL[one.state] then return one.state end
  return nil, ("job %s: has not ended within %g s"):format(handle.id, seconds or math.huge), errors.TIMEOUT
end

function Store:result(handle)
  local one, message, code = known(self, handle)
  if not one then return nil, message, code end
  if one.state == "completed" then
    if one.result == nil then return core.null end
    return core.decode(one.result)
  end
  if one.state == "failed" then return nil, one.error.message, errors.JOB_FAILED end
  if one.state == "cancelled" then
    return nil, ("job %s: was cancelled"):format(one.id), errors.JOB_CANCELLED
  end
  return nil, ("job %s: has not ended"):format(one.id), errors.NOT_FINISHED
end

function Store:cancel(handle)
  local one, message, code = known(self, handle)
  if not one then return nil, message, code end
  if job.TERMINAL[one.state] then
    return nil, ("job %s: its state is %s"):format(one.id, one.state), errors.WRONG_STATE
  end
  one.state, one.run_at, one.finished_at = "cancelled", nil, self.time
  return true
end

function Store:retry(handle)
  local one, message, code = known(self, handle)
  if not one then return nil, message, code end
  if one.state ~= "failed" and one.state ~= "cancelled" and one.state ~= "retry" then
    return nil, ("job %s: its state is %s"):format(one.id, one.state), errors.WRONG_STATE
  end
  if one.state ~= "retry" then one.attempt = 1 end
  open(self, one)
  one.state, one.run_at, one.error, one.reason, one.finished_at = "pending", nil, nil, nil, nil
  return true
end

return testing_store
