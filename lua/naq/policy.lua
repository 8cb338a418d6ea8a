-- policy.lua -- the options that say how a job is treated: the same at enqueue and in naq.job().
--
-- At enqueue they travel in the payload, only what was given; the worker resolves them: payload before
-- the job's definition before the queue's settings before these defaults (retry.lua). Pure.
local pattern = require("naq.pattern")

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

--- Limits of an attempt: known names, for a later version.
---@type table<string, naq.OptionDeclaration>
policy.LIMITS = {
  timeout = { type = "number", min = 0, unsupported = true, doc = "seconds an attempt may take" },
  memory_limit = { type = { "number", "string" }, unsupported = true, doc = "bytes, or '64MB'" },
  cpu_limit = { type = "number", min = 0, unsupported = true, doc = "CPU seconds an attempt may use" },
  max_instructions = { type = "number", min = 0, unsupported = true, doc = "Lua instructions of an attempt" },
  sandbox = { type = { "boolean", "string", "table" }, unsupported = true, doc = "what the job may reach" },
}

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
