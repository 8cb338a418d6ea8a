-- explain_queue.lua -- why jobs of a queue do not run: who serves it and answers, whether it is paused or as
-- full as it may be. What explain.lua says of all of them, one job's own reasons apart.
local control = require("naq.control")
local core = require("naq.core")
local workers = require("naq.workers")

local explain_queue = {}

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

--- Put a reason behind those that are there.
---@param self naq.Explaining
---@param code string
---@param fields table?  what it carries besides
---@param message string  a format, for what follows
function explain_queue.add(self, code, fields, message, ...)
  local reason = fields or {}
  reason.code = code
  reason.message = message:format(...)
  self.reasons[#self.reasons + 1] = reason
end

local add = explain_queue.add

--- Whether a worker serves a queue.
function explain_queue.serves(worker, queue)
  for _, served in ipairs(worker.queues or {}) do
    if served == queue then return true end
  end
  return false
end

local serves = explain_queue.serves

--- Ask who lives, who answers, what of the queue runs: fills in self.
---@param self naq.Explaining
---@return true? done, string? message, naq.Code? code
function explain_queue.ask(self)
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

--- What holds for the queue as a whole, and its settings.
---@param self naq.Explaining
---@return true? done, table|string|nil settings_or_message, naq.Code? code
function explain_queue.look(self)
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

--- Whether it runs as many jobs as it may.
function explain_queue.look_at_concurrency(self, settings)
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

--- How many it begins at most.
function explain_queue.look_at_rate(self, settings)
  local queue, rate = self.found.queue, limit_of(self, settings, "rate_limit")
  if rate and rate ~= core.null then
    local said = type(rate) == "number" and ("%g/s"):format(rate) or tostring(rate)
    add(self, "RATE_LIMIT", { queue = queue, rate_limit = rate }, "queue %s begins %s at most", queue, said)
  end
end

return explain_queue
