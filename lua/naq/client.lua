-- client.lua -- a client for jobs: one configuration, one connection out of the process-wide pool. Hands
-- out queues and job handles.
local cancel = require("naq.cancel")
local config = require("naq.config")
local core = require("naq.core")
local dead_letter = require("naq.dead_letter")
local explain = require("naq.explain")
local id_rule = require("naq.id_rule")
local job = require("naq.job")
local jobs = require("naq.jobs")
local leader = require("naq.leader")
local queue = require("naq.queue")
local queue_names = require("naq.queue_names")
local reschedule = require("naq.reschedule")
local results = require("naq.results")
local workers = require("naq.workers")

---@class naq.Client
---@field conn naq.CoreConn
---@field config naq.Config
---@field prefix string
---@field results naq.Results
---@field closed boolean
---@field now (fun(): number)?  a clock of its own, for times that jobs wait for
local Client = {}
Client.__index = Client
Client.__name = "naq.Client"

local client = {}

--- Connect. Raises at `level` (1: the calling function) for options that are misspelt or mistyped.
---@param given? table  configuration, flat or in sections; see config.lua
---@param level? integer
---@return naq.Client? client, string? message, naq.Code? code
function client.connect(given, level)
  local resolved, message, code = config.resolve(given, (level or 1) + 1)
  if not resolved then return nil, message, code end
  local made
  made, message, code = config.apply_logging(resolved)
  if not made then return nil, message, code end
  made, message, code = client.open(resolved)
  return made, message, code
end

--- Connect with a configuration that was resolved before.
---@param resolved naq.Config
---@return naq.Client? client, string? message, naq.Code? code
function client.open(resolved)
  local conn, message, code = core.connect(config.connect_options(resolved))
  if not conn then return nil, message, code end
  return client.over(conn, resolved)
end

--- A client on a connection, or on what stands for one (testing_conn.lua).
---@param conn naq.CoreConn
---@param resolved naq.Config
---@return naq.Client
function client.over(conn, resolved)
  local self = setmetatable({
    conn = conn,
    config = resolved,
    prefix = resolved.queues.prefix,
    closed = false,
    opened = {},
  }, Client)
  self.results = results.new(self)
  self.handles = job.class(self)
  return self
end

--- Give the connection back. A closed client raises when it is used, and so do its queues and handles;
--- closing twice is fine.
function Client:close()
  if self.closed then return end
  self.closed = true
  self.conn:close()
end

Client.__close = Client.close

--- The client itself, or an error at `level` (1: the calling function) when it is closed.
---@param level integer
---@return naq.Client
function Client:use(level)
  if self.closed then error("this client is closed", level + 1) end
  return self
end

--- Create the streams and buckets of docs/wire.md where they are missing. Called by itself when the
--- server turns out to be new.
---@return table? layout, string? message, naq.Code? code  CONFIGURATION: one exists and differs
function Client:ensure_layout()
  local layout, message, code = self:use(2).conn:ensure_layout({
    prefix = self.prefix,
    replicas = self.config.nats.replicas,
    worker_ttl = self.config.workers.ttl,
    leader_ttl = self.config.scheduler.lock_ttl,
    failed_age = self.config.failed.max_age,
    failed_bytes = self.config.failed.max_bytes,
  })
  return layout, message, code
end

--- The queue of that name (none: the default one). Nothing is created on the server. Raises for a name
--- that is not 1 to 64 of [A-Za-z0-9_-].
---@param name? string
---@return naq.Queue
function Client:queue(name)
  return (self:queue_at(name, 2))
end

--- queue() for functions that raise on behalf of their caller.
---@param name string?
---@param level integer  1: the calling function
---@return naq.Queue
function Client:queue_at(name, level)
  self:use(level + 1)
  if name == nil then name = self.config.queues.default end
  local found = self.opened[name]
  if not found then
    if not core.valid_id(name) then
      error(("queue name '%s' must be 1 to 64 of [A-Za-z0-9_-]"):format(tostring(name)), level + 1)
    end
    found = queue.new(self, name)
    self.opened[name] = found
  end
  return found
end

--- Put one job on the queue that opts.queue names, or on the default one. See Queue:enqueue.
---@param name string
---@param args? any
---@param opts? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function Client:enqueue(name, args, opts)
  local made, message, code = self:queue_at(nil, 2):put(name, args, opts, 2)
  return made, message, code
end

--- Put one job on a queue, to run in so many seconds. See Queue:enqueue_in.
---@param seconds number
---@param name string
---@param args? any
---@param opts? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function Client:enqueue_in(seconds, name, args, opts)
  local made, message, code = self:queue_at(nil, 2):put_in(seconds, name, args, opts, 2)
  return made, message, code
end

--- Put one job on a queue, to run at a time. See Queue:enqueue_at.
---@param time number|string
---@param name string
---@param args? any
---@param opts? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function Client:enqueue_at(time, name, args, opts)
  local made, message, code = self:queue_at(nil, 2):put_at(time, name, args, opts, 2)
  return made, message, code
end

--- The handle of a job by its id; whether there is such a job is not asked.
---@param id string
---@return naq.Job? job, string? message, naq.Code? code  INVALID
function Client:job(id)
  self:use(2)
  if type(id) ~= "string" then error("a job's id must be a string, not a " .. type(id), 2) end
  local valid, message, code = id_rule.of_job(id)
  if not valid then return nil, message, code end
  return setmetatable({ id = id }, self.handles)
end

--- What job:reschedule() does.
---@param handle naq.Job
---@param time number|string
---@param level integer
---@return true? done, string? message, naq.Code? code
function Client:reschedule_job(handle, time, level)
  local done, message, code = reschedule.job(self:use(level + 1), handle, time, level + 1)
  return done, message, code
end

--- What job:cancel() does.
---@param handle naq.Job
---@return true? cancelled, string? message, naq.Code? code
function Client:cancel_job(handle)
  local done, message, code = cancel.job(self:use(2), handle)
  return done, message, code
end

--- What job:explain() does.
---@param handle naq.Job
---@return naq.Explanation? explanation, string? message, naq.Code? code
function Client:explain_job(handle)
  local explanation, message, code = explain.job(self:use(2), handle)
  return explanation, message, code
end

--- The first jobs that match: what runs, what waits on queues, what waits for its time, then what has ended,
--- the latest first.
---@param filter? {queue: string?, state: string?, limit: integer?}  limit: 100
---@return naq.JobInfo[]? jobs, string? message, naq.Code? code
function Client:jobs(filter)
  local list, message, code = jobs.list(self:use(2), filter, 2)
  return list, message, code
end

--- All jobs that match, however many, in that order:
---   for info, message, code in client:each_job({ state = "failed" }) do ... end
--- When the server cannot be read the last round has false, message, code.
---@param filter? {queue: string?, state: string?}
---@return fun(): naq.JobInfo|false|nil, string?, naq.Code?
function Client:each_job(filter)
  local each = jobs.each(self:use(2), filter, 2)
  return each
end

--- The dead letters: jobs that were given up. Methods: list, each, show, retry, discard, count, purge.
---@return naq.DeadLetters
function Client:failed()
  self:use(2)
  self.letters = self.letters or dead_letter.new(self)
  return self.letters
end

--- A recurring schedule: the handle of the one with that id, or with a definition a new one.
---@param id string
---@param definition? naq.ScheduleDefinition
---@return naq.Schedule? schedule, string? message, naq.Code? code  KEY_NOT_FOUND, KEY_EXISTS, INVALID, ...
function Client:schedule(id, definition)
  local found, message, code = self:schedule_at(id, definition, 2)
  return found, message, code
end

--- schedule() for functions that raise on behalf of their caller.
function Client:schedule_at(id, definition, level)
  self:use(level + 1)
  local schedule = require("naq.schedule")
  local found, message, code
  if definition == nil then
    found, message, code = schedule.find(self, id, level + 1)
  else
    found, message, code = schedule.create(self, self.config.queues.default, id, definition, level + 1)
  end
  return found, message, code
end

--- All recurring schedules; shape as `naq schedule list --json`.
---@return naq.ScheduleInfo[]? schedules, string? message, naq.Code? code
function Client:schedules()
  local list, message, code = require("naq.schedule").list(self:use(2))
  return list, message, code
end

--- The scheduler that leads, and since when; nil alone: none does.
---@return naq.LeaderInfo? leader, string? message, naq.Code? code
function Client:leader()
  local found, message, code = leader.find(self:use(2))
  return found, message, code
end

--- The ids of schedules that are due and were not run, because no scheduler leads, say.
---@return string[]? ids, string? message, naq.Code? code
function Client:overdue_schedules()
  local ids, message, code = require("naq.schedule").overdue(self:use(2))
  return ids, message, code
end

--- The live workers; shape as `naq workers --json`.
---@return naq.WorkerInfo[]? workers, string? message, naq.Code? code
function Client:workers()
  local list, message, code = workers.list(self:use(2))
  return list, message, code
end

--- Names of the queues that are or were served, hold jobs, or have settings, sorted.
---@return string[]? names, string? message, naq.Code? code
function Client:queues()
  local names, message, code = queue_names.list(self:use(2))
  return names, message, code
end

return client
