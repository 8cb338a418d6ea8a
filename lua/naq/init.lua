-- naq -- a job queue on NATS JetStream: the public surface and nothing else.
--
-- Modules are loaded on first use: a job file that only calls naq.job() in a worker's state pays for
-- nothing more.
local core = require("naq.core")
local declarations = require("naq.declarations")
local definitions = require("naq.definitions")
local errors = require("naq.errors")
local hooks = require("naq.hooks")

---@class naq
---@field with_connection fun(options: table?, fn: fun(conn: naq.Connection): ...): ...
---@field with_jetstream fun(options: table?, fn: fun(js: naq.JetStream, conn: naq.Connection): ...): ...
---@field with_kv fun(bucket: string, options: table?, fn: fun(kv: naq.KV, conn: naq.Connection): ...): ...
---@field uses_connection fun(fn: fun(conn: naq.Connection, ...): ..., options: table?): fun(...): ...
---@field uses_jetstream fun(fn: fun(js: naq.JetStream, ...): ..., options: table?): fun(...): ...
---@field test_connection fun(options: table?): true?, table|string, naq.Code?
---@field wait_for_connection fun(seconds: number, options: table?): true?, string?, naq.Code?
---@field connection_stats fun(): naq.ConnectionStats
---@field close_connections fun(servers: string|string[]): integer
---@field close_all fun(): integer
local naq = {
  VERSION = core.VERSION,
  errors = errors,
  --- JSON's null: a result of a job that returned nothing, a null inside args.
  null = core.null,
  --- Mark a table as an array, so that an empty one is written as [] and not as {}.
  array = core.array,
}

-- The client of the functions that name none. naq.connect() sets it when there is none; without that the
-- first use connects with the configuration of the environment.
local default_client

local function connect(options, level)
  local client, message, code = require("naq.client").connect(options, level + 1)
  if not client then return nil, message, code end
  if not default_client or default_client.closed then default_client = client end
  return client
end

local function default()
  if default_client and not default_client.closed then return default_client end
  local client, message, code = connect(nil, 2)
  return client, message, code
end

--- Connect to NATS: a client for jobs. The first one is also the client of naq.enqueue and its like.
---@param options? table  docs/configuration.md: servers, user, prefix, ..., or config = "naq.yaml"
---@return naq.Client? client, string? message, naq.Code? code
function naq.connect(options)
  local client, message, code = connect(options, 2)
  return client, message, code
end

--- Close the default client, where there is one.
function naq.disconnect()
  if default_client then default_client:close() end
  default_client = nil
end

--- client:enqueue() on the default client.
---@param name string
---@param args? any
---@param options? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function naq.enqueue(name, args, options)
  local client, job, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  job, message, code = client:queue_at(nil, 2):put(name, args, options, 2)
  return job, message, code
end

--- queue:enqueue_in() on the default client and, where the options name none, its default queue.
---@param seconds number
---@param name string
---@param args? any
---@param options? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function naq.enqueue_in(seconds, name, args, options)
  local client, job, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  job, message, code = client:queue_at(nil, 2):put_in(seconds, name, args, options, 2)
  return job, message, code
end

--- queue:enqueue_at() on the default client.
---@param time number|string  epoch seconds, or ISO 8601 (no zone: UTC)
---@param name string
---@param args? any
---@param options? naq.EnqueueOptions
---@return naq.Job? job, string? message, naq.Code? code
function naq.enqueue_at(time, name, args, options)
  local client, job, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  job, message, code = client:queue_at(nil, 2):put_at(time, name, args, options, 2)
  return job, message, code
end

--- Remove what is on a queue (none given: the default one), on the default client.
---@param name? string
---@return integer? removed, string? message, naq.Code? code
function naq.purge_queue(name)
  local client, removed, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  removed, message, code = client:queue_at(name, 2):purge()
  return removed, message, code
end

--- The result of a job by its id, on the default client. See Job:result.
---@param id string
---@return any value, string? message, naq.Code? code
function naq.fetch_job_result(id)
  if type(id) ~= "string" then error("a job's id must be a string, not a " .. type(id), 2) end
  local client, job, value, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  job, message, code = client:job(id)
  if not job then return nil, message, code end
  value, message, code = job:result()
  if value == nil then return nil, message, code end
  return value
end

--- The live workers, on the default client.
---@return naq.WorkerInfo[]? workers, string? message, naq.Code? code
function naq.list_workers()
  local client, list, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  list, message, code = client:workers()
  return list, message, code
end

--- A worker in this program; Lua 5.4. See worker.lua for the options.
---@param options table
---@return naq.Worker? worker, string? message, naq.Code? code
function naq.worker(options)
  local worker, message, code = require("naq.worker").new(options, 2)
  return worker, message, code
end

-- Functions of naq.connections, which is loaded with the first of them that is used.
local IN_CONNECTIONS = {
  with_connection = true,
  with_jetstream = true,
  with_kv = true,
  uses_connection = true,
  uses_jetstream = true,
  test_connection = true,
  wait_for_connection = true,
  connection_stats = true,
  close_connections = true,
  close_all = true,
}

setmetatable(naq, {
  __index = function(_, name)
    if not IN_CONNECTIONS[name] then return nil end
    naq[name] = require("naq.connections")[name]
    return naq[name]
  end,
})

--- The services of one configuration: connection, streams, kv, jobs, and the program's own. See services.lua.
---@param options? table  as for naq.connect()
---@return naq.Services? services, string? message, naq.Code? code
function naq.services(options)
  local services, message, code = require("naq.services").new(options, 2)
  return services, message, code
end

--- A raw NATS connection out of the process-wide pool. See connection.lua for what it can do.
---@param options? table  as for naq.connect()
---@return naq.Connection? connection, string? message, naq.Code? code
function naq.connection(options)
  local conn, message, code = require("naq.connections").connect(options, 2)
  return conn, message, code
end

--- Define a job: naq.job(name, function) or naq.job(name, options, function). A worker that loads the
--- file runs it; elsewhere the definition is only recorded.
---@param name string
---@param options table|function
---@param fn? fun(args: any, job: table): any, string?, string?
function naq.job(name, options, fn)
  if fn == nil and type(options) == "function" then
    options, fn = nil, options
  end
  local at = debug.getinfo(2, "Sl")
  local source = at and ("%s:%d"):format(at.source:match("^@(.*)") or at.short_src, at.currentline)
  definitions.add(name, options, fn, source, 2)
end

--- Hooks run with every job of the worker whose job files register them: before hooks in order, around hooks
--- nested with the first outermost, after hooks in reverse. An error in one is the job's. See hook_chain.lua.
---@param fn fun(job: table, args: any)
function naq.before(fn) hooks.add("before", fn, 2) end

--- fn(job, true, result) or fn(job, false, message, code), however the attempt ended by itself.
---@param fn fun(job: table, ok: boolean, result: any, code: string?)
function naq.after(fn) hooks.add("after", fn, 2) end

--- fn(job, next) calls next() to run the job; what next() returned is the job's result, unless fn returns
--- something itself.
---@param fn fun(job: table, next: fun(): ...): ...
function naq.around(fn) hooks.add("around", fn, 2) end

--- A recurring schedule. In a job file that a worker reads it is declared: created, or changed where the
--- declaration has changed. Elsewhere it is created at once, on the default client.
---@param id string
---@param definition naq.ScheduleDefinition
---@return naq.Schedule? schedule, string? message, naq.Code? code
function naq.schedule(id, definition)
  if declarations.open then
    declarations.add(id, definition, 2)
    return nil
  end
  local client, made, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  made, message, code = client:schedule_at(id, definition or {}, 2)
  return made, message, code
end

-- The schedule of that id on the default client.
local function scheduled(id, level)
  local client, found, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  found, message, code = client:schedule_at(id, nil, level + 1)
  return found, message, code
end

--- End what was scheduled: a recurring schedule, or else the job of that id.
---@param id string
---@return naq.ScheduleInfo|true|nil done, string? message, naq.Code? code  KEY_NOT_FOUND, WRONG_STATE
function naq.cancel_scheduled_job(id)
  local client, done, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  done, message, code = require("naq.scheduled").cancel(client, id, 2)
  return done, message, code
end

--- Let a recurring schedule rest, until naq.resume_scheduled_job().
---@param id string
---@return naq.ScheduleInfo? row, string? message, naq.Code? code  KEY_NOT_FOUND, WRONG_STATE
function naq.pause_scheduled_job(id)
  local schedule, row, message, code
  schedule, message, code = scheduled(id, 2)
  if not schedule then return nil, message, code end
  row, message, code = schedule:pause()
  return row, message, code
end

--- Let a recurring schedule go on.
---@param id string
---@return naq.ScheduleInfo? row, string? message, naq.Code? code  KEY_NOT_FOUND, WRONG_STATE
function naq.resume_scheduled_job(id)
  local schedule, row, message, code
  schedule, message, code = scheduled(id, 2)
  if not schedule then return nil, message, code end
  row, message, code = schedule:resume()
  return row, message, code
end

--- Change a recurring schedule, see Schedule:modify; or move the job of that id: { next_run = time }.
---@param id string
---@param changes table
---@return naq.ScheduleInfo|true|nil done, string? message, naq.Code? code
---        KEY_NOT_FOUND, WRONG_REVISION, WRONG_STATE, INVALID
function naq.modify_scheduled_job(id, changes)
  local client, done, message, code
  client, message, code = default()
  if not client then return nil, message, code end
  done, message, code = require("naq.scheduled").modify(client, id, changes, 2)
  return done, message, code
end

return naq
