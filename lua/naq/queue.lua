-- queue.lua -- one queue: put jobs on it, one or many; count and purge what is there.
--
-- enqueue() is hot: no closures, one table (the handle) and three strings a call, and no option check
-- where no options are given.
local control = require("naq.control")
local core = require("naq.core")
local enqueue_options = require("naq.enqueue_options")
local errors = require("naq.errors")
local id_rule = require("naq.id_rule")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local lookup = require("naq.lookup")
local queue_stats = require("naq.queue_stats")
local running = require("naq.running")
local waiting = require("naq.waiting")
local withdraw = require("naq.withdraw")

-- Payloads up to here fit any server's limits.
local LARGE = 500

local payload_of, new_id = core.payload, core.new_id
local setmetatable, type = setmetatable, type

local queue = {}

---@class naq.Queue
---@field name string
---@field client naq.Client
local Queue = {}
Queue.__index = Queue
Queue.__name = "naq.Queue"

--- Made by client:queue(), which checks the name.
---@param client naq.Client
---@param name string
---@return naq.Queue
function queue.new(client, name)
  local self = { client = client, name = name, subjects = {}, classes = {} }
  for _, priority in ipairs(job.PRIORITIES) do
    self.subjects[priority] = ("%s.q.%s.%s."):format(client.prefix, name, priority)
    self.classes[priority] = job.class(client, name, priority)
  end
  return setmetatable(self, Queue)
end

local function context(self, message) return ("queue %s: %s"):format(self.name, message) end

-- Whether a caller's own id is free: true, or nil, message, code.
local function id_is_free(self, id)
  local free, message, code = id_rule.of_job(id)
  if not free then return nil, message, code end
  free, message, code = lookup.id_is_free(self.client, id)
  return free, message, code
end

-- Into the stream: onto the queue, or into the delayed store when there is a time to wait for.
local function send(self, priority, id, payload, due)
  local client = self.client
  if due then return client.conn:put_delayed(client.prefix, self.name, priority, id, due, payload) end
  return client.conn:js_publish(self.subjects[priority] .. id, payload, id .. ":0")
end

-- The first message on a new server finds no stream: create the layout, then try again.
local function publish(self, priority, id, payload, due)
  local seq, duplicate, code = send(self, priority, id, payload, due)
  if seq or code ~= errors.CONFIGURATION then return seq, duplicate, code end
  local layout, message
  layout, message, code = self.client:ensure_layout()
  if not layout then return nil, message, code end
  return send(self, priority, id, payload, due)
end

--- enqueue() for functions that raise on behalf of their caller.
---@param name string
---@param args any
---@param opts naq.EnqueueOptions?
---@param level integer  1: the calling function
---@return naq.Job? job, string? message, naq.Code? code
function Queue:put(name, args, opts, level)
  local client = self.client
  if client.closed then error("this client is closed", level + 1) end
  if type(name) ~= "string" or name == "" then
    error("a job's name must be a string that is not empty", level + 1)
  end

  local priority, id, fields, due = "normal", nil, nil, nil
  local message, code
  if opts ~= nil then
    opts, message, code = enqueue_options.apply(opts, level + 1)
    if not opts then return nil, message, code end
    if opts.queue and opts.queue ~= self.name then self = client:queue_at(opts.queue, level + 1) end
    priority, id, fields = opts.priority or "normal", opts.id, enqueue_options.fields(opts)
    due = enqueue_options.due(opts, client.now)
    if id then
      local free
      free, message, code = id_is_free(self, id)
      if not free then return nil, context(self, message), code end
    end
  end
  id = id or new_id()

  local payload, duplicate
  payload, message, code = payload_of(name, args, fields)
  if not payload then return nil, context(self, message), code end
  if #payload > LARGE then
    local most = client.conn:max_job()
    if #payload > most then
      message = ("payload: %d bytes, and a job may have %d"):format(#payload, most)
      return nil, context(self, message), errors.TOO_LARGE
    end
  end
  local seq
  seq, duplicate, code = publish(self, priority, id, payload, due)
  if not seq then return nil, context(self, duplicate), code end
  if duplicate then
    return nil, context(self, ("there is a job %s already"):format(id)), errors.DUPLICATE
  end
  return setmetatable({ id = id }, self.classes[priority])
end

--- Put one job on the queue and wait until the server has stored it.
---@param name string   job name
---@param args? any     anything the codec can carry
---@param opts? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
---        SERIALIZATION, TOO_LARGE, DUPLICATE, INVALID, STORAGE_FULL, CONNECTION, TIMEOUT, ...
function Queue:enqueue(name, args, opts)
  local made, message, code = self:put(name, args, opts, 2)
  return made, message, code
end

-- The caller's options with one of them set, which must not be given there as well.
local function with(opts, name, value, level)
  if type(value) ~= "number" and type(value) ~= "string" then
    error(("a time is a number or a string, not a %s"):format(type(value)), level + 1)
  end
  local merged = {}
  if type(opts) == "table" then
    for key, given in pairs(opts) do
      merged[key] = given
    end
    if opts.delay ~= nil or opts.at ~= nil then
      error("the time is given twice: in the options too", level + 1)
    end
  elseif opts ~= nil then
    return opts -- put() says what is wrong with it
  end
  merged[name] = value
  return merged
end

--- Queue:enqueue_in() for functions that raise on behalf of their caller.
function Queue:put_in(seconds, name, args, opts, level)
  if type(seconds) ~= "number" then error("a number of seconds expected", level + 1) end
  local made, message, code = self:put(name, args, with(opts, "delay", seconds, level + 1), level + 1)
  return made, message, code
end

--- Queue:enqueue_at() for functions that raise on behalf of their caller.
function Queue:put_at(time, name, args, opts, level)
  local made, message, code = self:put(name, args, with(opts, "at", time, level + 1), level + 1)
  return made, message, code
end

--- Put one job on the queue, to run in so many seconds.
---@param seconds number
---@param name string
---@param args? any
---@param opts? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function Queue:enqueue_in(seconds, name, args, opts)
  local made, message, code = self:put_in(seconds, name, args, opts, 2)
  return made, message, code
end

--- Put one job on the queue, to run at a time: epoch seconds, or ISO 8601 (no zone: UTC). A time that
--- has passed is now.
---@param time number|string
---@param name string
---@param args? any
---@param opts? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function Queue:enqueue_at(time, name, args, opts)
  local made, message, code = self:put_at(time, name, args, opts, 2)
  return made, message, code
end

-- Check all entries before anything is sent, so that misuse raises with nothing done. Options are
-- prepared once a table, whether it stands in one entry or in all. What becomes of them is a number
-- where they are nothing but a time.
local function prepare_all(self, list, level)
  local prepared, now = {}, (self.client.now or core.now)()
  for i = 1, #list do
    local entry = list[i]
    if type(entry) ~= "table" or type(entry[1]) ~= "string" or entry[1] == "" then
      error(("entry %d must be { name, args, options }"):format(i), level + 1)
    end
    local opts = entry[3]
    local known = opts == nil or prepared[opts] ~= nil
    local only_due = not known and enqueue_options.only_due(opts, now)
    if only_due then
      prepared[opts] = only_due
    elseif not known then
      local checked, message, code = enqueue_options.apply(opts, level + 1)
      if checked and checked.id then
        local free
        free, message, code = id_is_free(self, checked.id)
        if not free then checked = nil end
      end
      if checked then
        local target = self
        if checked.queue then target = self.client:queue_at(checked.queue, level + 1) end
        local priority = checked.priority or "normal"
        prepared[opts] = {
          queue = target.name,
          priority = priority,
          id = checked.id,
          fields = enqueue_options.fields(checked),
          due = enqueue_options.due(checked, self.client.now),
          class = target.classes[priority],
        }
      else
        prepared[opts] = { message = message, code = code }
      end
    end
  end
  return prepared
end

--- Put many jobs on the queue, acknowledgements awaited together. An entry is { name, args, options };
--- misuse in any of them raises before anything is sent.
---@param list table[]
---@return (naq.Job|false)[]? jobs  in order, false where refused; nil only if nothing was sent
---@return table<integer, {code: naq.Code, message: string}>|string errors  by index; or the message
---@return naq.Code? code
function Queue:enqueue_many(list)
  local client = self.client:use(2)
  if type(list) ~= "table" then error("enqueue_many takes a list of { name, args, options }", 2) end
  local prepared = prepare_all(self, list, 2)
  local function prepare(opts)
    local p = prepared[opts]
    if type(p) == "number" then
      local due = enqueue_options.due({ at = p }, client.now)
      return self.name, "normal", nil, nil, due
    end
    if not p.queue then return nil, p.message, p.code end
    return p.queue, p.priority, p.id, p.fields, p.due
  end

  local defaults = { prefix = client.prefix, queue = self.name, dues = prepared }
  local jobs, refused, code = client.conn:enqueue_many(list, defaults, prepare)
  if not jobs and code == errors.CONFIGURATION then
    local layout, message
    layout, message, code = client:ensure_layout()
    if not layout then return nil, context(self, message), code end
    jobs, refused, code = client.conn:enqueue_many(list, defaults, prepare)
  end
  if not jobs then return nil, context(self, refused), code end
  local class = self.classes.normal
  for i = 1, #jobs do
    local id = jobs[i]
    if id then
      local p = prepared[list[i][3] or false]
      jobs[i] = setmetatable({ id = id }, type(p) == "table" and p.class or class)
    end
  end
  return jobs, refused
end

--- Create a recurring schedule whose runs are jobs of this queue, unless the definition names another.
---@param id string
---@param definition naq.ScheduleDefinition
---@return naq.Schedule? schedule, string? message, naq.Code? code  KEY_EXISTS, INVALID, ...
function Queue:schedule(id, definition)
  local create = require("naq.schedule").create
  local made, message, code = create(self.client:use(2), self.name, id, definition, 2)
  return made, message, code
end

-- How many jobs of this queue run now.
local function count_running(self, client)
  local jobs, message, code = running.jobs(client)
  if not jobs then return nil, message, code end
  local count = 0
  for _, name in pairs(jobs) do
    if name == self.name then count = count + 1 end
  end
  return count
end

--- Remove what is on the queue. A job that runs meanwhile goes on to its end, but is not delivered again
--- should its worker die; retries and delayed jobs, which are not on the queue yet, stay.
---@return integer? removed  those that ran are not counted
---@return string? message, naq.Code? code
function Queue:purge()
  local client = self.client:use(2)
  local busy, message, code = count_running(self, client)
  if not busy then return nil, context(self, message), code end
  local removed = 0
  for _, priority in ipairs(job.PRIORITIES) do
    -- Exactly a consumer's filter: after a narrower purge nats-server 2.9.10 never delivers the rest.
    local body = { filter = self.subjects[priority] .. "*" }
    local stream = client.prefix .. "_jobs"
    local answer
    answer, message, code = jetstream_api.call(client.conn, "STREAM.PURGE", stream, body)
    if not answer then
      if code == errors.KEY_NOT_FOUND then return 0 end
      return nil, context(self, message), code
    end
    removed = removed + (answer.purged or 0)
  end
  return math.max(0, removed - busy)
end

-- What the others answer, as this queue's.
local function answer(self, value, message, code)
  if value == nil then return nil, context(self, message), code end
  return value
end

--- What is set for this queue in NATS; {} when nothing is. Where it says nothing, a worker's
--- configuration holds (queues.configs.NAME).
---@return naq.QueueSettings? settings, string? message, naq.Code? code
function Queue:settings()
  local settings, message, code = answer(self, control.settings(self.client:use(2), self.name))
  return settings, message, code
end

--- Change settings of this queue, for all workers; the others stay. naq.null unsets one. Workers follow
--- within a second.
---@param changes naq.QueueSettings
---@return naq.QueueSettings? settings  all that is set now
---@return string? message, naq.Code? code
function Queue:configure(changes)
  local client = self.client:use(2)
  control.check(changes, 2)
  local settings, message, code = answer(self, control.configure(client, self.name, changes))
  return settings, message, code
end

local function set_paused(self, client, paused)
  local settings, message, code = answer(self, control.configure(client, self.name, { paused = paused }))
  if not settings then return nil, message, code end
  return true
end

--- No job of this queue is started from now on, until resume(): it takes jobs, what runs goes on.
---@return true? done, string? message, naq.Code? code
function Queue:pause()
  local done, message, code = set_paused(self, self.client:use(2), true)
  return done, message, code
end

---@return true? done, string? message, naq.Code? code
function Queue:resume()
  local done, message, code = set_paused(self, self.client:use(2), false)
  return done, message, code
end

--- The jobs that wait, in the order in which they were stored, `limit` of them (50), behind the one with
--- the id or seq `after`. Touches nothing, and costs the same wherever it begins.
---@param limit? integer
---@param after? string|integer
---@return naq.WaitingJob[]? jobs, string? message, naq.Code? code  JOB_NOT_FOUND: no job `after` waits
function Queue:peek(limit, after)
  local client = self.client:use(2)
  if limit == nil then limit = 50 end
  if type(limit) ~= "number" or limit < 1 or limit % 1 ~= 0 then
    error("peek takes a whole number of jobs from 1", 2)
  end
  if after ~= nil and type(after) ~= "string" and type(after) ~= "number" then
    error("peek goes on after a job's id or seq", 2)
  end
  local jobs, message, code = answer(self, waiting.peek(client, self.name, limit, after))
  return jobs, message, code
end

--- Take one waiting job away, as if it had never been enqueued.
---@param id string
---@return true? deleted, string? message, naq.Code? code
---        JOB_NOT_FOUND; WRONG_STATE: it does not wait here, or a worker runs it, or one is silent that may
function Queue:delete(id)
  local client = self.client:use(2)
  if type(id) ~= "string" then error("a job's id must be a string, not a " .. type(id), 2) end
  local deleted, message, code = answer(self, withdraw.job(client, self.name, id))
  return deleted, message, code
end

--- How the queue stands; shape as `naq queue stats --json`.
---@return naq.QueueStats? stats, string? message, naq.Code? code
function Queue:stats()
  local stats, message, code = answer(self, queue_stats.of(self.client:use(2), self.name))
  return stats, message, code
end

return queue
