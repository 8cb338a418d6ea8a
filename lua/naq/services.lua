-- services.lua -- the services of one configuration: a connection, streams, key-value buckets, jobs, and
-- those a program adds. Each starts when it is first used, after what it needs; all are closed together.
--
--   local services = assert(naq.services({ servers = "nats://127.0.0.1:4222" }))
--   services.kv:put("settings", "theme", "dark")        -- connects now
--   services.jobs:enqueue("resize", { path = "a.png" })
--   services:close()
--
-- The configuration is read once, by naq.services(). A method that starts something answers nil, message,
-- code when that fails.
local client = require("naq.client")
local config = require("naq.config")
local connections = require("naq.connections")
local registry = require("naq.service_registry")

local services = {}

---@class naq.Services
---@field config naq.Config
---@field connection naq.ConnectionService
---@field streams naq.StreamService
---@field kv naq.KVService
---@field jobs naq.JobService
---@field registry naq.ServiceRegistry
local Services = {}
Services.__index = Services
Services.__name = "naq.Services"

---@class naq.ServiceDefinition
---@field needs string[]?  names of services that are started before
---@field start fun(needs: table<string, any>): any, string?, naq.Code?
---@field stop fun(value: any)?

--- Add a service of the program's own. start(needs) gets the values of what it needs by name (connection: a
--- naq.Connection, streams: a naq.JetStream, kv: something with bucket(name, opts), jobs: a naq.Client) and
--- returns the service's value, or nil, message, code; stop(value) ends it. Raises for a name that is taken
--- and for services that would need each other.
---@param name string
---@param definition naq.ServiceDefinition
function Services:register(name, definition) self.registry:register(name, definition, 2) end

--- The value of a service, started if need be; the values of naq's own are named above.
---@param name string
---@return any value, string? message, naq.Code? code
function Services:get(name)
  local value, message, code = self.registry:get(name, 2)
  return value, message, code
end

--- Stop a service and, before it, what needs it. They start again when they are used again.
---@param name string
---@return true? done, string? message, naq.Code? code  INVALID: a stop function raised
function Services:stop(name)
  local done, message, code = self.registry:stop(name)
  return done, message, code
end

--- The names of what runs, in the order in which it was started.
---@return string[]
function Services:running()
  local names = {}
  for i, name in ipairs(self.registry.started) do
    names[i] = name
  end
  return names
end

--- Stop all of them, the last started first. Twice is fine; services that are closed raise when used.
---@return true? done, string? message, naq.Code? code  INVALID: a stop function raised
function Services:close() return self.registry:close() end

Services.__close = function(self) self.registry:close() end

-- The connection -----------------------------------------------------------------------------------

---@class naq.ConnectionService
---@field services naq.Services
local Connection = {}
Connection.__index = Connection

--- The connection of these services, to be used by many; they close it.
---@return naq.Connection? connection, string? message, naq.Code? code
function Connection:get()
  local conn, message, code = self.services.registry:get("connection", 2)
  return conn, message, code
end

--- JetStream on it.
---@return naq.JetStream? js, string? message, naq.Code? code
function Connection:jetstream()
  local js, message, code = self.services.registry:get("streams", 2)
  return js, message, code
end

--- Call fn with a connection of its own out of the pool, and give it back, on an error too.
---@param fn fun(conn: naq.Connection): ...
---@return any ...
function Connection:scope(fn)
  if self.services.registry.closed then error("these services are closed", 2) end
  if type(fn) ~= "function" then error("a function expected, not a " .. type(fn), 2) end
  return connections.with_connection(self.services.config, fn)
end

--- The same with JetStream: fn(js, conn).
---@param fn fun(js: naq.JetStream, conn: naq.Connection): ...
---@return any ...
function Connection:jetstream_scope(fn)
  if self.services.registry.closed then error("these services are closed", 2) end
  if type(fn) ~= "function" then error("a function expected, not a " .. type(fn), 2) end
  return connections.with_jetstream(self.services.config, fn)
end

--- Is the server there? Connects when nothing has yet. Never fails: what is wrong stands in the answer.
---@param seconds? number  how long to wait for the server's sign of life, 2
---@return naq.ConnectionHealth
function Connection:health_check(seconds)
  local conn, message, code = self.services.registry:get("connection", 2)
  if not conn then return { ok = false, status = "closed", message = message, code = code } end
  return conn:health(seconds)
end

--- Give the connection back, after stopping what is built on it. The next use connects again.
---@return true? done, string? message, naq.Code? code
function Connection:close() return self.services:stop("connection") end

-- Streams, buckets, jobs: methods of what stands behind them, which they start first ----------------

-- A method of the service's value. A tail call: what raises for a wrong argument names the caller's line.
local function forward(service, method)
  return function(self, ...)
    local value, message, code = self.services.registry:get(service, 2)
    if value == nil then return nil, message, code end
    return value[method](value, ...)
  end
end

---@class naq.StreamService
---@field ensure fun(self, name: string, config?: table): table?, string?, naq.Code?  js:ensure_stream()
---@field update fun(self, name: string, config: table): table?, string?, naq.Code?
---@field info fun(self, name: string): table?, string?, naq.Code?
---@field list fun(self): table?, string?, naq.Code?
---@field purge fun(self, name: string, opts?: table): integer?, string?, naq.Code?
---@field delete fun(self, name: string): true?, string?, naq.Code?
---@field publish fun(self, subject: string, data?: string, opts?: table): integer?, any, naq.Code?
local Streams = {
  ensure = forward("streams", "ensure_stream"),
  update = forward("streams", "update_stream"),
  info = forward("streams", "stream_info"),
  list = forward("streams", "list_streams"),
  purge = forward("streams", "purge_stream"),
  delete = forward("streams", "delete_stream"),
  publish = forward("streams", "publish"),
}
Streams.__index = Streams

---@class naq.JobService
---@field enqueue fun(self, name: string, args?: any, opts?: naq.EnqueueOptions): naq.Job?, string?, naq.Code?
---@field queue fun(self, name?: string): naq.Queue?, string?, naq.Code?
---@field job fun(self, id: string): naq.Job?, string?, naq.Code?
---@field workers fun(self): naq.WorkerInfo[]?, string?, naq.Code?
---@field queues fun(self): string[]?, string?, naq.Code?
local Jobs = {
  enqueue = forward("jobs", "enqueue"),
  queue = forward("jobs", "queue"),
  job = forward("jobs", "job"),
  workers = forward("jobs", "workers"),
  queues = forward("jobs", "queues"),
}
Jobs.__index = Jobs

---@class naq.Buckets
---@field js naq.JetStream
---@field opened table<string, naq.KV>
local Buckets = {}
Buckets.__index = Buckets

--- A bucket, opened or created by the first call and kept. Options count in that first call.
---@param name string
---@param opts? naq.KVOptions
---@return naq.KV? bucket, string? message, naq.Code? code
function Buckets:bucket(name, opts)
  if self.opened[name] then return self.opened[name] end
  local bucket, message, code = self.js:kv(name, opts)
  if not bucket then return nil, message, code end
  self.opened[name] = bucket
  return bucket
end

---@class naq.KVService
---@field bucket fun(self, name: string, opts?: naq.KVOptions): naq.KV?, string?, naq.Code?
local KV = { bucket = forward("kv", "bucket") }
KV.__index = KV

--- services.kv:get(bucket, key), put, create, update, delete, keys: those of the bucket of that name.
for _, method in ipairs({ "get", "put", "create", "update", "delete", "keys" }) do
  KV[method] = function(self, name, ...)
    local bucket, message, code = self:bucket(name)
    if not bucket then return nil, message, code end
    return bucket[method](bucket, ...)
  end
end

local function buckets(js) return setmetatable({ js = js, opened = {} }, Buckets) end

local function close(value) value:close() end

--- The services of a configuration; nothing is connected yet. Raises at `level` (1: the calling function) for
--- options that are misspelt or mistyped.
---@param given? table  as for naq.connect()
---@param level? integer
---@return naq.Services? services, string? message, naq.Code? code  CONFIGURATION
function services.new(given, level)
  local resolved, message, code = config.resolve(given, (level or 1) + 1)
  if not resolved then return nil, message, code end
  local ok
  ok, message, code = config.apply_logging(resolved)
  if not ok then return nil, message, code end
  local self = setmetatable({ config = resolved, registry = registry.new() }, Services)
  local function add(name, needs, start, stop)
    self.registry:register(name, { needs = needs, start = start, stop = stop }, 1)
  end
  add("connection", {}, function() return connections.open(resolved) end, close)
  add("streams", { "connection" }, function(needs) return needs.connection:jetstream() end)
  add("kv", { "streams" }, function(needs) return buckets(needs.streams) end)
  add("jobs", { "connection" }, function() return client.open(resolved) end, close)
  self.connection = setmetatable({ services = self }, Connection)
  self.streams = setmetatable({ services = self }, Streams)
  self.kv = setmetatable({ services = self }, KV)
  self.jobs = setmetatable({ services = self }, Jobs)
  return self
end

return services
