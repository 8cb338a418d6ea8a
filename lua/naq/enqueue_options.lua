-- enqueue_options.lua -- what may be said about a job when it is put on a queue, and where each of it goes:
-- into the subject, into the payload, or into the time that it waits for. Pure but for the clock.
local core = require("naq.core")
local id_rule = require("naq.id_rule")
local job = require("naq.job")
local moment = require("naq.moment")
local options = require("naq.options")
local policy = require("naq.policy")

local enqueue_options = {}

local function traceparent_problem(value)
  if core.valid_traceparent(value) then return nil end
  return "must be a W3C traceparent (00-<32 hex digits>-<16>-<2>, lower case), not '" .. value .. "'"
end

-- What only enqueue decides; the rest of the options are the policy.
local FIXED = {
  queue = { type = "string", check = id_rule.problem, doc = "another queue than this one" },
  id = { type = "string", doc = "the job's id; refused with DUPLICATE while another job has it" },
  priority = { type = "string", one_of = job.PRIORITIES, doc = "high before normal before low (normal)" },
  meta = { type = "table", doc = "carried along unread" },
  trace = { type = "string", check = traceparent_problem, doc = "W3C traceparent: job.trace, and passed on" },
  delay = { type = "number", min = 0, doc = "seconds before the first attempt" },
  at = {
    type = { "number", "string" },
    check = moment.problem,
    doc = "time of the first attempt: epoch seconds or ISO 8601 (no zone: UTC)",
  },
  unique = { type = "string", unsupported = true, doc = "refused while a job with this key waits or runs" },
  depends_on = { type = { "string", "table" }, unsupported = true, doc = "jobs that must end first" },
  on_parent_failure = { type = "string", one_of = { "cancel", "run" }, unsupported = true },
  concurrency_key = { type = "string", unsupported = true },
}

---@type table<string, naq.OptionDeclaration>
enqueue_options.DECLARATION = {}
for _, part in ipairs({ FIXED, policy.DECLARATION, policy.LIMITS }) do
  for name, declared in pairs(part) do
    enqueue_options.DECLARATION[name] = declared
  end
end

-- Options that become members of the payload: true, or "list" for those whose empty list is an array.
local CARRIED = { meta = true, trace = true }
for _, part in ipairs({ policy.DECLARATION, policy.LIMITS }) do
  for name, declared in pairs(part) do
    CARRIED[name] = declared.type == "strings" and "list" or true
  end
end

---@class naq.EnqueueOptions
---@field queue string?
---@field id string?
---@field priority "high"|"normal"|"low"|nil
---@field delay number?   seconds
---@field at number|string|nil  epoch seconds or ISO 8601, no zone: UTC
---@field meta table?
---@field trace string?
---@field max_retries integer?
---@field retry_delay number|number[]|nil
---@field retry_strategy "exponential"|"linear"|"fixed"|nil
---@field retry_jitter number?
---@field retry_max_delay number?
---@field retry_on string[]?
---@field ignore_on string[]?
---@field result_ttl number?
---@field timeout number?
---@field memory_limit number|string|nil
---@field cpu_limit number?
---@field max_instructions number?
---@field sandbox boolean?

--- Options checked; see options.apply().
---@param given naq.EnqueueOptions
---@param level integer  1: the calling function
---@return naq.EnqueueOptions? options, string? message, naq.Code? code  UNSUPPORTED
function enqueue_options.apply(given, level)
  local checked, message, code = options.apply(enqueue_options.DECLARATION, given, level + 1)
  if checked and checked.delay and checked.at then
    error("options 'delay' and 'at' exclude each other", level + 1)
  end
  return checked, message, code
end

--- The members of the payload that the options become; nil when there are none.
---@param opts naq.EnqueueOptions
---@return table?
function enqueue_options.fields(opts)
  local fields
  for name, value in pairs(opts) do
    local carried = CARRIED[name]
    if carried then
      if carried == "list" and #value == 0 then value = core.array({}) end
      fields = fields or {}
      fields[name] = value
    end
  end
  return fields
end

--- The time that the job is put off to; nil: none, or one that has come.
---@param opts naq.EnqueueOptions
---@param now? fun(): number  core.now
---@return number? due  epoch seconds
function enqueue_options.due(opts, now)
  now = now or core.now
  if opts.delay and opts.delay > 0 then return now() + opts.delay end
  local due = opts.at and moment.seconds(opts.at)
  return due and due > now() and due or nil
end

--- The same of options that are a time and nothing else, which needs no check of names and no table: by the
--- hundred thousand that is most of what preparing them costs. nil: they are not.
---@param opts any
---@param now number
---@return number? due  perhaps one that has come
function enqueue_options.only_due(opts, now)
  if type(opts) ~= "table" or getmetatable(opts) ~= nil then return nil end
  local name, value = next(opts)
  if type(value) ~= "number" or next(opts, name) ~= nil then return nil end
  if name == "at" and not moment.problem(value) then return value end
  if name == "delay" and value >= 0 and value < math.huge then return now + value end
  return nil
end

return enqueue_options
