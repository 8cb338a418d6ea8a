-- config_table.lua -- every key of the configuration, once: its path, its type, its default, the name it
-- has as a flat option, and the variables that set it besides NAQ_<SECTION>_<KEY>. Pure.
--
-- `naq config init`, `naq config show` and docs/configuration.md are made from this table or held to it.
-- A path with * in it stands for all names in that place: queues.configs.*.ack_wait.
local id_rule = require("naq.id_rule")
local nats = require("naq.config_table_nats")
local policy = require("naq.policy")
local quantity = require("naq.quantity")

---@class naq.ConfigKey: naq.OptionDeclaration
---@field path string
---@field flat string?      name among the options of naq.connect() and naq.worker()
---@field env string[]?     variables besides NAQ_<SECTION>_<KEY>; config_keys.lua adds that one
---@field secret boolean?   never printed, in no error either
---@field later string?     the part that will use it, where this version has none that does
---@field normal (fun(value: any): any)?  the one form in which the others get to see it
---@field of_queue string?  ack_wait of queues.configs.*.ack_wait; config_keys.lua adds it
---@field computed string?  what the default is, where it is no constant

local list = {}
local function key(path, declared)
  declared.path = path
  list[#list + 1] = declared
end

local function not_empty(value) return value == "" and "must not be empty" or nil end

local function bytes(declared)
  declared.type, declared.min = { "integer", "string" }, 1
  declared.check, declared.normal = quantity.bytes_problem, quantity.bytes
  return declared
end

local SHORT, LONG = 0.001, 31536000 -- the core counts in milliseconds; nobody waits for more than a year

for _, declared in ipairs(nats) do
  key(declared.path, declared)
end

key("queues.default", {
  type = "string",
  default = "default",
  check = id_rule.problem,
  flat = "default_queue",
  env = { "NAQ_DEFAULT_QUEUE" },
  doc = "the queue of jobs that name none",
})
key("queues.prefix", {
  type = "string",
  default = "naq",
  check = id_rule.problem,
  flat = "prefix",
  doc = "first part of the names of all subjects, streams and buckets",
})
key("queues.ack_wait", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 30,
  flat = "ack_wait",
  env = { "NAQ_DEFAULT_ACK_WAIT" },
  doc = "seconds a worker may be silent before its jobs move; fixed when a queue is first served",
})
key("queues.configs.*.ack_wait", {
  type = "number",
  min = SHORT,
  max = LONG,
  computed = "queues.ack_wait",
  doc = "the same for this queue alone",
})
key("queues.configs.*.concurrency", {
  type = "integer",
  min = 1,
  computed = "no limit",
  doc = "jobs of this queue that run at the same time, on all workers together",
})
key("queues.configs.*.rate_limit", {
  type = { "number", "string" },
  check = quantity.rate_problem,
  computed = "no limit",
  doc = "jobs of this queue that start, a second (100) or as 100/s, 600/m, 1000/h",
})
key("queues.configs.*.paused", {
  type = "boolean",
  computed = "false",
  doc = "whether the queue takes jobs and starts none",
})

-- The policy of a queue's jobs: what stands in the payload or with the job goes before it.
local policies, names = {}, {}
for _, declaration in ipairs({ policy.DECLARATION, policy.LIMITS }) do
  for name, declared in pairs(declaration) do
    if not declared.unsupported then
      policies[name] = declared
      names[#names + 1] = name
    end
  end
end
table.sort(names)
for _, name in ipairs(names) do
  local declared = {}
  for property, value in pairs(policies[name]) do
    declared[property] = value
  end
  key("queues.configs.*." .. name, declared)
end

key("workers.concurrency", {
  type = "integer",
  min = 1,
  max = 10000,
  computed = "the number of cores",
  flat = "concurrency",
  env = { "NAQ_WORKER_CONCURRENCY" },
  doc = "threads, each running one job at a time",
})
key("workers.heartbeat_interval", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 15,
  flat = "heartbeat_interval",
  env = { "NAQ_WORKER_HEARTBEAT_INTERVAL" },
  doc = "seconds between a worker's records",
})
key("workers.ttl", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 60,
  flat = "worker_ttl",
  env = { "NAQ_WORKER_TTL" },
  doc = "seconds after which a silent worker is forgotten; fixed when the bucket is created",
})
key("workers.timeout", {
  type = "number",
  min = SHORT,
  max = LONG,
  computed = "none",
  flat = "timeout",
  doc = "seconds an attempt may take, where neither the job nor the call says",
})
key("workers.memory_limit", bytes({
  computed = "none",
  flat = "memory_limit",
  doc = "bytes an attempt may use (64MB), where neither the job nor the call says",
}))
key("workers.max_crashes", {
  type = "integer",
  min = 1,
  default = 3,
  flat = "max_crashes",
  env = { "NAQ_WORKER_MAX_CRASHES" },
  doc = "starts over again without an outcome before a job is a dead letter; the first start is not counted",
})
key("workers.shutdown_timeout", {
  type = "number",
  min = 0,
  max = LONG,
  default = 30,
  flat = "shutdown_timeout",
  env = { "NAQ_WORKER_SHUTDOWN_TIMEOUT" },
  doc = "seconds that running jobs get to finish",
})

key("scheduler.enabled", {
  type = "boolean",
  default = true,
  doc = "whether a worker runs a scheduler",
})
key("scheduler.lock_ttl", {
  type = "number",
  min = 1,
  default = 5,
  doc = "seconds after which another scheduler takes over from one that died",
})
key("scheduler.max_failures", {
  type = "integer",
  min = 1,
  default = 5,
  env = { "NAQ_MAX_SCHEDULE_FAILURES" },
  doc = "failures in a row after which a schedule is given up",
})
key("scheduler.misfire", {
  type = "string",
  one_of = { "once", "skip", "all" },
  default = "once",
  doc = "what becomes of runs missed while no scheduler ran",
})

key("events.enabled", {
  type = "boolean",
  default = true,
  later = "the event stream",
  doc = "whether what happens to jobs is told in the event stream",
})
key("events.level", {
  type = "string",
  default = "state",
  check = not_empty,
  later = "the event stream",
  doc = "how much is told: state, the changes of a job's state",
})
key("events.max_age", {
  type = "number",
  min = 1,
  default = 604800,
  later = "the event stream",
  doc = "seconds that events are kept",
})
key("events.max_bytes", bytes({
  default = 1000000000,
  later = "the event stream",
  doc = "bytes of events that are kept (1GB)",
}))

key("results.ttl", {
  type = "number",
  min = 0,
  default = 604800,
  flat = "result_ttl",
  env = { "NAQ_DEFAULT_RESULT_TTL" },
  doc = "seconds that a job's record is kept, where neither the job nor the call says",
})
key("failed.max_age", {
  type = "number",
  min = 1,
  max = 3155760000,
  default = 2592000,
  doc = "seconds that a dead letter is kept; fixed when their stream is created",
})
key("failed.max_bytes", bytes({
  default = 1073741824,
  doc = "bytes of all dead letters (1GB), the oldest go first; fixed when their stream is created",
}))

key("logging.level", {
  type = "string",
  one_of = { "error", "warn", "info", "debug" },
  default = "info",
  flat = "log_level",
  env = { "NAQ_LOG_LEVEL" },
  doc = "what is logged: this and what is graver",
})
key("logging.format", {
  type = "string",
  one_of = { "text", "json" },
  default = "text",
  flat = "log_format",
  doc = "lines for people, or JSON objects",
})
key("logging.file", {
  type = "string",
  check = not_empty,
  flat = "log_file",
  computed = "standard error",
  doc = "where the log goes",
})

key("dashboard.host", {
  type = "string",
  default = "127.0.0.1",
  check = not_empty,
  later = "the dashboard",
  doc = "the address that the dashboard listens on",
})
key("dashboard.port", {
  type = "integer",
  min = 1,
  max = 65535,
  default = 8080,
  later = "the dashboard",
  doc = "and its port",
})

return list
