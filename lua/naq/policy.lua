-- policy.lua -- the options that say how a job is treated: the same at enqueue and in naq.job().
--
-- At enqueue they travel in the payload, only what was given; the worker resolves them: payload before
-- the job's definition before the queue's settings before these defaults (retry.lua). Pure.
local pattern = require("naq.pattern")
local quantity = require("naq.quantity")

local policy = {}

-- Refused where it is written down: in a worker, at the first failure, it would be too late to say so.
local function patterns_problem(list)
  for i = 1, #list do
    local problem = pattern.problem(list[i])
    if problem then
      return ("holds '%s', which is no Lua pattern: %s (%% quotes a character)"):format(list[i], problem)
    end
  end
  return nil
end

-- A payload may come from any NATS client, so everything here is checked again where it is used.
---@type table<string, naq.OptionDeclaration>
policy.DECLARATION = {
  max_retries = { type = "integer", min = 0, doc = "attempts after the first (3)" },
  retry_delay = {
    type = { "number", "numbers" },
    min = 0,
    check = function(v) return type(v) == "table" and #v == 0 and "must not be an empty list" or nil end,
    doc = "seconds before the first retry, or a list of seconds, its last value repeating (1)",
  },
  retry_strategy = {
    type = "string",
    one_of = { "exponential", "linear", "fixed" },
    doc = "how retry_delay grows: delay * 2^(k-1), delay * k, delay (exponential); a list wins over it",
  },
  retry_jitter = { type = "number", min = 0, max = 1, doc = "share of the delay added or taken away (0.1)" },
  retry_max_delay = { type = "number", min = 0, doc = "ceiling of the delay, before jitter (3600)" },
  retry_on = {
    type = "strings",
    check = patterns_problem,
    doc = "retry only these: each equals the code or is a Lua pattern found in the message",
  },
  ignore_on = { type = "strings", check = patterns_problem, doc = "never retry these; wins over retry_on" },
  result_ttl = {
    type = "number",
    min = 0,
    doc = "seconds the record is kept; 0: none for a success (604800)",
  },
}

local function amount_problem(value) return value ~= 0 and quantity.bytes_problem(value) or nil end

--- Limits of an attempt, 0: none. The payload's are read by the core (csrc/run/vm.c).
---@type table<string, naq.OptionDeclaration>
policy.LIMITS = {
  timeout = { type = "number", min = 0, doc = "seconds an attempt may take (none)" },
  memory_limit = {
    type = { "number", "string" },
    min = 0,
    check = amount_problem,
    doc = "bytes an attempt may use, or '64MB' (none)",
  },
  cpu_limit = { type = "number", min = 0, doc = "seconds of CPU time an attempt may use (none)" },
  max_instructions = { type = "number", min = 0, doc = "Lua instructions an attempt may run (none)" },
  sandbox = {
    type = "boolean",
    doc = "no files, no processes, no C modules; a payload cannot lift it",
  },
}

--- The limits that hold for a job whose payload says nothing, in the order in which the core reads them:
--- timeout, cpu_limit, memory_limit (bytes), max_instructions; nil when there is none.
---@param job_options table      the options of naq.job(), and its queue's where it says nothing
---@param defaults table?        of the worker
---@return number[]?
function policy.ceilings(job_options, defaults)
  local function given(name)
    local value = job_options[name]
    if value == nil and defaults then value = defaults[name] end
    return value or 0
  end
  local memory = quantity.bytes(given("memory_limit")) or 0
  local timeout, cpu, instructions = given("timeout"), given("cpu_limit"), given("max_instructions")
  if timeout == 0 and cpu == 0 and memory == 0 and instructions == 0 then return nil end
  return { timeout, cpu, memory, instructions }
end

--- What holds when neither the payload nor the job says anything.
policy.DEFAULTS = {
  max_retries = 3,
  retry_delay = 1,
  retry_strategy = "exponential",
  retry_jitter = 0.1,
  retry_max_delay = 3600,
  result_ttl = 604800,
}

return policy
