-- runner.lua -- inside a worker's Lua state: loads the job files, decides about retries. The calls
-- themselves are made by the core, which holds the table that open() returns.
local attempt = require("naq.attempt")
local core = require("naq.core")
local hooks = require("naq.hooks")
local job_files = require("naq.job_files")
local library = require("naq.library")
local job_policy = require("naq.policy")
local option_checks = require("naq.options")
local sources = require("naq.sources")

local runner = {}

-- Not needed any more in a state that is open; there may be hundreds.
local ONCE = { "naq.runner", "naq.job_files", "naq.library", "naq.attempt" }

-- The core calls by position: function, environment, whether it takes the job as second argument (a
-- table less to make when it does not), result_ttl, max_retries, ceilings, whether it is sandboxed.
-- job is for the others here.
---@param job naq.LoadedJob
---@param options table    its own, and those of a queue where it says nothing
---@param host table       limits: the worker's, for jobs that have none; sandboxed(job) -> fn, own; hooks
local function entry(job, options, host)
  local fn, own = job.fn, job.own
  if options.sandbox then
    local ok, inside, its_own = pcall(host.sandboxed, job)
    if not ok and job.options.sandbox then error(inside, 0) end
    if ok then
      fn, own = inside, its_own
    else
      -- A queue or a payload may ask for it while the worker serves. A job that cannot be had inside fails,
      -- with the reason; it does not run outside instead.
      fn = function() error(inside, 0) end
    end
  end
  if #host.hooks > 0 then fn = require("naq.hook_chain").wrap(fn, host.hooks, host.marks) end
  local info = debug.getinfo(fn, "u")
  return {
    fn,
    own,
    info.nparams == nil or info.isvararg or info.nparams > 1, -- Lua 5.1 does not tell
    options.result_ttl,
    options.max_retries or job_policy.DEFAULTS.max_retries,
    job_policy.ceilings(options, host.limits) or false,
    options.sandbox == true,
    job = job,
    options = options,
  }
end

-- The same jobs under the settings of one queue, which fill in what a job does not say itself.
local function entries_on_queue(entries, settings, host)
  local own = {}
  for name, known in pairs(entries) do
    local options = {}
    for option, value in pairs(settings) do
      options[option] = value
    end
    for option, value in pairs(known.job.options) do
      options[option] = value
    end
    own[name] = entry(known.job, options, host)
  end
  return own
end

-- The job's function once more, from a copy of its file inside the sandbox. Raises with file and line.
local function sandboxer(dirs, from)
  local box, files = nil, {}
  return function(job)
    box = box or require("naq.sandbox").new(dirs, from)
    local file = files[job.path]
    if not file then
      local jobs, own = box.load(job.path, job.file_name)
      if not jobs then error(("job '%s' cannot be loaded in the sandbox: %s"):format(job.name, own), 0) end
      file = { jobs = jobs, own = own }
      files[job.path] = file
    end
    local fn = file.jobs[job.name]
    if not fn then error(("job '%s' is not defined by %s in the sandbox"):format(job.name, job.path), 0) end
    return fn, file.own
  end
end

-- The policies of queues, by name: the configuration's, and over it what is set in NATS, where anything
-- may stand.
local function policies_of(configured, in_nats)
  local policies = configured or {}
  local set = in_nats and in_nats ~= "" and core.decode(in_nats) or {}
  for queue, settings in pairs(set) do
    local policy = policies[queue] or {}
    for name, value in pairs(settings) do
      local declared = job_policy.DECLARATION[name] or job_policy.LIMITS[name]
      local problem = declared and option_checks.problem(declared, value)
      if problem then
        core.log("warning", ("queue %s: %s in NATS is not followed: it %s"):format(queue, name, problem))
      elseif declared then
        policy[name] = value
      end
    end
    policies[queue] = policy
  end
  return policies
end

---@class naq.Runner
---@field entries table<string, table>              jobs by name, see entry()
---@field on_queues table<string, table>             the same by queue, where one has a policy of its own
---@field decide fun(name, queue, payload_text, attempt, message, code): number?, integer
---        the delay before the next attempt, nil when there is none; the number of retries
---@field sandboxed fun(name: string, queue: string): table  a job for a payload that asks for it

--- The jobs of a state. Raises with file and line.
---@param told table  {files, dirs, limits, policies}
---@param from naq.Sources
---@param globals table  of the job files
---@param marks {snooze: any, discard: any}
---@param random? fun(): number  for the jitter of retries
---@return naq.Runner
function runner.build(told, from, globals, marks, random)
  local loaded = job_files.load(told.files, told.dirs, from, globals)
  local host = {
    limits = told.limits,
    sandboxed = sandboxer(told.dirs, from),
    hooks = loaded.hooks,
    marks = marks,
  }
  local self = { entries = {}, on_queues = {}, files = loaded }
  local entries, on_queues = self.entries, self.on_queues
  for name, job in pairs(loaded.jobs) do
    entries[name] = entry(job, job.options, host)
  end
  local retry = require("naq.retry")
  local policies = told.policies or {}
  for queue, settings in pairs(policies) do
    on_queues[queue] = entries_on_queue(entries, settings, host)
  end

  function self.decide(name, queue, payload_text, number, message, code)
    local payload = core.decode(payload_text)
    local known = entries[name]
    local policy, ignored = retry.resolve(payload, known and known.options, policies[queue])
    if ignored then
      core.log("warning", ("job %s: its payload is not followed in part: %s"):format(name, ignored))
    end
    if not retry.applies(policy, number, message, code) then return nil, policy.max_retries end
    return retry.delay(policy, number, random), policy.max_retries
  end

  local in_sandbox = {}
  function self.sandboxed(name, queue)
    local known = (on_queues[queue] or entries)[name]
    local found = in_sandbox[known]
    if not found then
      found = entry(known.job, setmetatable({ sandbox = true }, { __index = known.options }), host)
      in_sandbox[known] = found
    end
    return found
  end

  return self
end

-- The schedules that the files declare. Done by the state that reads them from disk, not by those which are
-- made of its snapshot. On the worker's own connection and without all that a whole client loads: most
-- workers have no other use for either.
local function declare(told, files)
  local options = require("naq.config").connect_options(told.config)
  options.pool_size = 1
  local conn, message, code = core.connect(options)
  if not conn then
    core.log("error", ("schedules were not declared: %s (%s)"):format(message, code))
    return
  end
  local client = { conn = conn, config = told.config, prefix = told.config.queues.prefix }
  function client.ensure_layout() -- wanted when somebody has deleted the bucket meanwhile
    return require("naq.client").over(conn, told.config):ensure_layout()
  end
  require("naq.schedule_declare").all(client, files.declarations, files.paths)
  conn:close()
end

--- Called once by the core. Returns the jobs by name, the function that decides about retries, the class
--- of a job's second argument, the jobs by queue and name where a queue has a policy of its own, the
--- function that finds a job for a payload that asks for the sandbox, and the sources as read when asked for.
---@param text string  JSON: {files, dirs, config, limits, policies: {queue: {max_retries, ...}}}
---@param cancelled fun(): boolean
---@param snapshot string|boolean|nil  the sources to use; else they are read, true: and returned
---@param in_nats string?  JSON: {queue: {max_retries, ...}}, what is set in NATS; wins over policies
function runner.open(text, snooze, discard, cancelled, snapshot, in_nats)
  local told = assert(core.decode(text))
  os.exit = function() -- luacheck: ignore 122
    error("os.exit() would end the worker and all its jobs; return or raise instead", 2)
  end
  local globals, seal = library.open(true)
  local from = sources.new(snapshot)
  from:install()
  told.policies = policies_of(told.policies, in_nats)
  local built = runner.build(told, from, globals, { snooze = snooze, discard = discard })
  hooks.seal()
  if snapshot == true then declare(told, built.files) end
  seal()

  local client
  local attempts = attempt.class({
    snooze = snooze,
    discard = discard,
    cancelled = cancelled,
    client = function() -- on the worker's connection
      if client then return client end
      local message, code
      client, message, code = require("naq.client").open(told.config)
      return client, message, code
    end,
  })
  local on_queues = next(built.on_queues) and built.on_queues or nil
  for _, name in ipairs(ONCE) do
    package.loaded[name] = nil
  end
  return built.entries, built.decide, attempts, on_queues, built.sandboxed, from:settle()
end

return runner
