-- retry.lua -- whether a failed attempt is tried again, and when. Pure arithmetic.
local options = require("naq.options")
local policy = require("naq.policy")

local retry = {}

---@class naq.Policy
---@field max_retries integer
---@field retry_delay number|number[]
---@field retry_strategy "exponential"|"linear"|"fixed"
---@field retry_jitter number
---@field retry_max_delay number
---@field retry_on string[]?
---@field ignore_on string[]?
---@field result_ttl number

--- The policy of one job: what its payload says, else its definition, else its queue, else the default.
--- A payload can be anybody's: a member that is not what it should be counts as absent, and is named in
--- the second value.
---@param payload table?        the decoded payload
---@param job_options table?    the options of naq.job()
---@param queue_options table?  the policy among the queue's settings
---@return naq.Policy policy, string? ignored
function retry.resolve(payload, job_options, queue_options)
  local resolved, ignored = {}, nil
  for name, declared in pairs(policy.DECLARATION) do
    local value = payload and payload[name]
    if value ~= nil then
      local problem = options.problem(declared, value)
      if problem then
        local told = ("%s %s"):format(name, problem)
        ignored = ignored and (ignored .. "; " .. told) or told
        value = nil
      end
    end
    if value == nil and job_options then value = job_options[name] end
    if value == nil and queue_options then value = queue_options[name] end
    if value == nil then value = policy.DEFAULTS[name] end
    resolved[name] = value
  end
  return resolved, ignored
end

-- 2^1023 is the largest power there is; one ceiling is reached long before.
local MOST_DOUBLINGS = 1000

local function planned(p, k)
  local delay = p.retry_delay
  if type(delay) == "table" then return delay[math.min(k, #delay)] end
  if p.retry_strategy == "fixed" then return delay end
  if p.retry_strategy == "linear" then return delay * k end
  return delay * 2 ^ math.min(k - 1, MOST_DOUBLINGS)
end

--- Seconds before the k-th retry, k from 1: the strategy's delay, then the ceiling, then plus or minus
--- the jitter's share.
---@param p naq.Policy
---@param k integer
---@param random? fun(): number  in [0, 1); math.random
---@return number seconds
function retry.delay(p, k, random)
  local delay = math.min(planned(p, k), p.retry_max_delay)
  if p.retry_jitter == 0 then return delay end
  return delay * (1 + p.retry_jitter * (2 * (random or math.random)() - 1))
end

-- Patterns are checked where they come in (policy.lua); what string.find() refuses even so ("pattern too
-- complex" depends on the message) is looked for as it stands.
local function found(entries, message, code)
  for i = 1, #entries do
    local entry = entries[i]
    if entry == code then return true end
    local valid, at = pcall(string.find, message, entry)
    if not valid then at = string.find(message, entry, 1, true) end
    if at then return true end
  end
  return false
end

--- Whether an attempt that failed is tried again; false: it was the last, a dead letter.
---@param p naq.Policy
---@param attempt integer  the one that failed, from 1
---@param message string?
---@param code string?
---@return boolean
function retry.applies(p, attempt, message, code)
  if attempt > p.max_retries then return false end
  message = message or ""
  if p.ignore_on and found(p.ignore_on, message, code) then return false end
  if p.retry_on then return found(p.retry_on, message, code) end
  return true
end

return retry
