-- runner.lua -- inside a worker's Lua state: loads the job files, decides about retries. The calls
-- themselves are made by the core, which holds the table that open() returns.
local core = require("naq.core")
local definitions = require("naq.definitions")
local library = require("naq.library")
local job_policy = require("naq.policy")

local runner = {}

-- A job file's globals. While it loads they go to `own`, which is then moved to `defined`; a job that sets a
-- global later sets it in `own` again, and the core empties that after every call. So nothing a job
-- leaves behind is seen by another, nor by its own next run.
local function environment(globals)
  local defined = setmetatable({}, { __index = globals })
  local own = setmetatable({}, { __index = defined, __metatable = false })
  defined._G = own
  return own, defined
end

local function settle(own, defined)
  for name, value in pairs(own) do
    defined[name] = value
  end
  for name in pairs(own) do
    own[name] = nil
  end
end

---@class naq.LoadedJob
---@field name string
---@field fn function
---@field own table        the globals of its file
---@field path string      of its file
---@field file_name string that the file was told
---@field options table

-- The core calls by position: function, environment, whether it takes the job as second argument (a
-- table less to make when it does not), result_ttl, max_retries, ceilings, whether it is sandboxed.
-- job is for the others here.
---@param job naq.LoadedJob
---@param options table    its own, and those of a queue where it says nothing
---@param host table       limits: the worker's, for jobs that have none; sandboxed(job) -> fn, own
local function entry(job, options, host)
  local fn, own = job.fn, job.own
  if options.sandbox then fn, own = host.sandboxed(job) end
  local info = debug.getinfo(fn, "u")
  return {
    fn,
    own,
    info.isvararg or info.nparams > 1,
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

local function add(entries, job, host)
  if entries[job.name] then
    error(("%s: job '%s' is already defined in another file"):format(job.path, job.name), 0)
  end
  entries[job.name] = entry(job, job.options, host)
end

--- Load one file into entries: the jobs it names with naq.job(), and itself under `name` when it
--- returns a function. Raises with file and line.
local function load_file(entries, path, name, host)
  local own, defined = environment(host.globals)
  local chunk, message = loadfile(path, "t", own)
  if not chunk then error(message, 0) end
  local returned = chunk(name)
  local count = 0
  local function found(job_name, fn, options)
    local job = { name = job_name, fn = fn, own = own, path = path, file_name = name, options = options }
    add(entries, job, host)
    count = count + 1
  end
  for job_name, definition in pairs(definitions.take()) do
    found(job_name, definition.fn, definition.options)
  end
  if type(returned) == "function" then found(name, returned, {}) end
  settle(own, defined)
  return count
end

-- The job's function once more, from a copy of its file inside the sandbox. Raises with file and line.
local function sandboxer(dirs)
  local box, files = nil, {}
  return function(job)
    box = box or require("naq.sandbox").new(dirs)
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

local function base_name(path) return (path:match("([^/]+)$"):gsub("%.lua$", "")) end

local function load_all(told, host)
  local entries = {}
  for _, path in ipairs(told.files) do
    if load_file(entries, path, base_name(path), host) == 0 then
      error(("%s: defines no job: neither naq.job(...) nor a function returned"):format(path), 0)
    end
  end
  for _, dir in ipairs(told.dirs) do
    package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(dir, dir, package.path)
  end
  for _, dir in ipairs(told.dirs) do
    local found, message = core.lua_files(dir)
    if not found then error(message, 0) end
    for _, path in ipairs(found) do
      load_file(entries, dir .. "/" .. path, (path:gsub("%.lua$", ""):gsub("/", ".")), host)
    end
  end
  return entries
end

-- The job as its function sees it: plain fields set by the core, and these methods.
local function attempt_class(told, snooze, discard, cancelled)
  local Attempt = {}
  Attempt.__index = Attempt
  Attempt.__metatable = false -- shared by all jobs of this state

  --- Run it again in `seconds`, at the cost of no attempt. Takes effect when returned.
  function Attempt.snooze(_, seconds)
    if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
      error("job:snooze() takes a number of seconds from 0", 2)
    end
    return snooze, seconds
  end

  --- A dead letter now, whatever retries are left. Takes effect when returned.
  function Attempt.discard(_, reason) return discard, reason and tostring(reason) end

  --- A line in the worker's log that names the job.
  function Attempt:log(level, text)
    core.log(level, ("job %s: %s"):format(self.id, tostring(text)))
    return true
  end

  function Attempt.progress()
    return nil, "job:progress is not supported by this version", "UNSUPPORTED"
  end

  --- Whether somebody cancelled it: a job that looks can tidy up and return, for a moment.
  Attempt.cancelled = cancelled

  local client
  --- Enqueue another job, on the worker's connection.
  function Attempt.enqueue(_, name, args, options)
    if not client then
      local message, code
      client, message, code = require("naq.client").open(told.config)
      if not client then return nil, message, code end
    end
    return client:enqueue(name, args, options)
  end

  return Attempt
end

--- Called once by the core. Returns the jobs by name, the function that decides about retries, the class
--- of a job's second argument, the jobs by queue and name where a queue has a policy of its own, and the
--- function that finds a job for a payload that asks for the sandbox.
---@param text string  JSON: {files, dirs, config, limits, policies: {queue: {max_retries, ...}}}
---@param cancelled fun(): boolean
function runner.open(text, snooze, discard, cancelled)
  local told = assert(core.decode(text))
  os.exit = function() -- luacheck: ignore 122
    error("os.exit() would end the worker and all its jobs; return or raise instead", 2)
  end
  local globals, seal = library.open()
  local host = { limits = told.limits, globals = globals, sandboxed = sandboxer(told.dirs) }
  local entries = load_all(told, host)
  seal()
  local retry = require("naq.retry")
  local policies, on_queues = told.policies or {}, {}
  for queue, settings in pairs(policies) do
    on_queues[queue] = entries_on_queue(entries, settings, host)
  end

  local function decide(name, queue, payload_text, attempt, message, code)
    local payload = core.decode(payload_text)
    local known = entries[name]
    local policy, ignored = retry.resolve(payload, known and known.options, policies[queue])
    if ignored then
      core.log("warning", ("job %s: its payload is not followed in part: %s"):format(name, ignored))
    end
    if not retry.applies(policy, attempt, message, code) then return nil, policy.max_retries end
    return retry.delay(policy, attempt), policy.max_retries
  end

  local in_sandbox = {}
  local function sandboxed(name, queue)
    local known = (on_queues[queue] or entries)[name]
    local found = in_sandbox[known]
    if not found then
      local options = setmetatable({ sandbox = true }, { __index = known.options })
      local ok, made = pcall(entry, known.job, options, host)
      if not ok then return nil, made end
      found = made
      in_sandbox[known] = found
    end
    return found
  end

  local attempts = attempt_class(told, snooze, discard, cancelled)
  return entries, decide, attempts, next(on_queues) and on_queues or nil, sandboxed
end

return runner
