-- worker.lua -- options in, a worker of the core out: for `naq worker` and for programs that run jobs.
-- Lua 5.4 only, as the core's workers are.
local config = require("naq.config")
local core = require("naq.core")
local errors = require("naq.errors")
local options = require("naq.options")
local policy = require("naq.policy")
local quantity = require("naq.quantity")

local worker = {}

local function names_problem(value)
  if type(value) == "string" then value = { value } end
  for i = 1, #value do
    if not core.valid_id(value[i]) then
      return "must be names of 1 to 64 of [A-Za-z0-9_-], not '" .. value[i] .. "'"
    end
  end
  return nil
end

-- A worker's own options; those of config.lua (servers, concurrency, ...) may stand beside them.
local WORKER = {
  queues = {
    type = { "strings", "string" },
    check = names_problem,
    doc = "queues to serve (the default one)",
  },
  files = { type = { "strings", "string" }, doc = "job files" },
  dirs = { type = { "strings", "string" }, doc = "directories of files that each return one job" },
  name = { type = "string", check = names_problem, doc = "first part of the worker's id (the host's name)" },
  scheduler = { type = "boolean", doc = "false: no scheduler beside the jobs, whatever is configured" },
  burst = { type = "boolean", doc = "stop when nothing is pending or running" },
  max_jobs = { type = "integer", min = 1, doc = "stop after so many jobs" },
  handle_signals = {
    type = "boolean",
    doc = "follow SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT (docs/operations.md)",
  },
}

--- The policy among the settings of each queue, where there are any.
---@param configs table<string, table>?
---@return table<string, table>
function worker.policies(configs)
  local found = {}
  for name, settings in pairs(configs or {}) do
    for option, value in pairs(settings) do
      if policy.DECLARATION[option] or policy.LIMITS[option] then
        found[name] = found[name] or {}
        found[name][option] = value
      end
    end
  end
  return found
end

-- What the core has to know of each queue.
local function queue_settings(configs)
  local found = {}
  for name, settings in pairs(configs) do
    found[name] = {
      ack_wait = settings.ack_wait,
      concurrency = settings.concurrency,
      rate = settings.rate_limit and quantity.rate(settings.rate_limit),
      paused = settings.paused,
    }
  end
  return found
end

-- ", file naq.yaml:12" of a queue's settings.
local function place(resolved, queue)
  local setting = next(resolved.queues.configs[queue] or {})
  return setting and ", " .. resolved.sources[("queues.configs.%s.%s"):format(queue, setting)] or ""
end

-- Where a configuration names its queues, one that it does not name may be a slip: it is served, and said.
---@param resolved naq.Config
---@param queues string[]
---@return string[] sentences
local function unknown_queues(resolved, queues)
  local known, sentences = { [resolved.queues.default] = {} }, {}
  for name in pairs(resolved.queues.configs) do
    known[name] = {}
  end
  if not next(resolved.queues.configs) then return sentences end
  for _, name in ipairs(queues) do
    if not known[name] then
      local nearest = options.nearest(known, name)
      local text = ("queue '%s' is not among those of the configuration"):format(name)
      if nearest then text = ("%s (did you mean '%s'%s?)"):format(text, nearest, place(resolved, nearest)) end
      sentences[#sentences + 1] = text
    end
  end
  return sentences
end

local function list(value)
  if value == nil then return {} end
  return type(value) == "table" and value or { value }
end

---@class naq.Worker
---@field core naq.CoreWorker
---@field config naq.Config
local Worker = {}
Worker.__index = Worker
Worker.__name = "naq.Worker"

--- Open a worker: connect, and load the job files. Raises at `level` (default 1: the calling function)
--- for options that are misspelt or mistyped.
---@param given table  queues, files, dirs, name, burst, max_jobs, handle_signals; and configuration
---@param level? integer
---@return naq.Worker? worker, string? message, naq.Code? code
function worker.new(given, level)
  level = level or 1
  if type(given) ~= "table" then error("naq.worker takes a table of options", level + 1) end
  local own, resolved, code = config.resolve_beside(WORKER, given, level + 1)
  if not own then return nil, resolved, code end
  local files, dirs, queues = list(own.files), list(own.dirs), list(own.queues)
  if #files == 0 and #dirs == 0 then
    return nil, "worker: no job files (files) and no directory of them (dirs)", errors.CONFIGURATION
  end
  if not core.worker then return nil, "worker: workers need Lua 5.4", errors.UNSUPPORTED end

  local made, message
  made, message, code = core.configure_log(resolved.logging)
  if not made then return nil, message, code end
  for _, sentence in ipairs(config.unused(resolved)) do
    core.log("warning", "configuration: " .. sentence)
  end
  for _, sentence in ipairs(unknown_queues(resolved, queues)) do
    core.log("warning", sentence)
  end
  local connect = config.connect_options(resolved)
  collectgarbage() -- of reading the configuration: the core's tables take its place
  made, message, code = core.worker({
    connect = connect,
    runner = core.encode({
      files = core.array(files),
      dirs = core.array(dirs),
      config = resolved,
      policies = worker.policies(resolved.queues.configs),
      limits = { timeout = resolved.workers.timeout, memory_limit = resolved.workers.memory_limit },
    }),
    prefix = resolved.queues.prefix,
    queues = #queues > 0 and queues or { resolved.queues.default },
    threads = resolved.workers.concurrency,
    name = own.name,
    result_ttl = resolved.results.ttl,
    failed_age = resolved.failed.max_age,
    failed_bytes = resolved.failed.max_bytes,
    ack_wait = resolved.queues.ack_wait,
    settings = queue_settings(resolved.queues.configs),
    heartbeat_interval = resolved.workers.heartbeat_interval,
    ttl = resolved.workers.ttl,
    max_crashes = resolved.workers.max_crashes,
    shutdown_timeout = resolved.workers.shutdown_timeout,
    scheduler = resolved.scheduler.enabled and own.scheduler ~= false,
    lock_ttl = resolved.scheduler.lock_ttl,
    max_failures = resolved.scheduler.max_failures,
    misfire = resolved.scheduler.misfire,
    burst = own.burst,
    max_jobs = own.max_jobs,
    handle_signals = own.handle_signals,
  })
  if not made then return nil, message, code end
  return setmetatable({ core = made, config = resolved }, Worker)
end

--- Serve until stopped.
---@return {done: integer, failed: integer, retried: integer, stopped: string}? summary
---@return string? message, naq.Code? code
function Worker:run() return self.core:run() end

--- Begin to drain: running jobs finish, no other starts, run() returns.
function Worker:stop() self.core:stop() end

Worker.drain = Worker.stop

--- Give everything back; closing twice is fine.
function Worker:close() self.core:close() end

Worker.__close = Worker.close

return worker
