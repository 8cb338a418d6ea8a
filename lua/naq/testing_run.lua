-- testing_run.lua -- one attempt at one job in the Lua state of a test: decode, call, encode, as a worker
-- does it in C (csrc/run/vm.c). Limits are watched by a count hook here: they stop Lua code, not a call
-- into C, and under LuaJIT no compiled loop.
local core = require("naq.core")
local describe = require("naq.failure").describe
local policy = require("naq.policy")

local testing_run = {}

local unpack = table.unpack or unpack -- luacheck: ignore 113 143
local function pack(...) return { n = select("#", ...), ... } end

local STEP = 1000

---@class naq.Outcome
---@field did "return"|"fail"|"snooze"|"discard"
---@field result string?   JSON
---@field message string?
---@field code string?
---@field traceback string?
---@field reason string?   of the dead letter, should it come to that
---@field seconds number?

local function failed(message, code, traceback, reason)
  return { did = "fail", message = message, code = code, traceback = traceback, reason = reason or "failed" }
end

-- The words are those of csrc/run/stop.c.
local function over(ceilings, since)
  local timeout, cpu, memory, instructions = unpack(ceilings, 1, 4)
  if timeout > 0 and core.mono() - since.mono > timeout then
    return "timeout", "JOB_TIMEOUT", ("it ran longer than its timeout of %g s"):format(timeout)
  end
  if cpu > 0 and os.clock() - since.cpu > cpu then
    return "cpu", "JOB_CPU", ("it used more CPU time than its limit of %g s"):format(cpu)
  end
  if instructions > 0 and since.steps >= instructions then
    local message = "it ran more instructions than its limit of %d"
    return "instructions", "JOB_INSTRUCTIONS", message:format(instructions)
  end
  if memory > 0 and collectgarbage("count") * 1024 - since.bytes > memory then
    collectgarbage()
    if collectgarbage("count") * 1024 - since.bytes > memory then
      return "memory", "JOB_MEMORY", ("it wanted more memory than its limit of %d bytes"):format(memory)
    end
  end
  return nil
end

local function keep(err)
  return { err = err, traceback = (debug.traceback("", 2):gsub("^\n", "")) }
end

-- The message handler of a job's call under limits: it is called only for what nothing inside has caught, so
-- the watch is over, and what comes after the call is not to be stopped.
local function leave(err)
  debug.sethook()
  return keep(err)
end

-- fn under ceilings. Returns what pcall does, and the limit that was reached: {reason, code, message}.
local function limited(fn, ceilings)
  if not ceilings then return fn(), nil end
  collectgarbage()
  local since = { mono = core.mono(), cpu = os.clock(), bytes = collectgarbage("count") * 1024, steps = 0 }
  local step = ceilings[4] > 0 and math.min(STEP, ceilings[4]) or STEP
  local struck
  local function look()
    local reason, code, message = over(ceilings, since)
    if reason then struck = struck or { reason, code, message } end
  end
  local hook, mask, count = debug.gethook()
  local function watch()
    since.steps = since.steps + step
    if not struck then look() end
    if not struck then return end
    debug.sethook(watch, "", 1) -- from here on at every instruction: a pcall in a loop gets nowhere
    error(struck[3], 2)
  end
  debug.sethook(watch, "", step)
  local got = fn()
  debug.sethook(hook, mask, count)
  if not struck then look() end
  return got, struck
end

local function ceilings_of(payload, entry, defaults)
  local own = setmetatable({}, { __index = entry.options })
  for name in pairs(policy.LIMITS) do
    if payload[name] ~= nil and payload[name] ~= core.null then own[name] = payload[name] end
  end
  return policy.ceilings(own, defaults)
end

-- What the job returned, or raised.
local function read(got, marks, max_result)
  if not got[1] then
    local caught = got[2]
    local message, code = describe(caught.err)
    local traceback = type(caught.err) == "table" and rawget(caught.err, "traceback") or caught.traceback
    return failed(message, code, traceback)
  end
  local first, second, third = got[2], got[3], got[4]
  if first ~= nil and first == marks.snooze then return { did = "snooze", seconds = second } end
  if first ~= nil and first == marks.discard then
    return { did = "discard", message = second or "discarded", code = "DISCARDED", reason = "discarded" }
  end
  if first == nil and second == nil then return { did = "return" } end
  if first == nil then
    local message, code = describe(second)
    return failed(message, type(third) == "string" and third or code)
  end
  local text, message, code = core.encode(first)
  if not text then return failed(message:gsub("^value", "result", 1), code) end
  if #text > max_result then
    return failed(("result: %d bytes, and %d are the most"):format(#text, max_result), "TOO_LARGE")
  end
  return { did = "return", result = text }
end

local function forget(own)
  for name in pairs(own) do
    own[name] = nil
  end
end

--- Run one job once.
---@param built naq.Runner
---@param job {queue: string, name: string, payload: table}
---@param handle table      the job's second argument
---@param host {marks: table, limits: table, max_result: integer}
---@return naq.Outcome
function testing_run.attempt(built, job, handle, host)
  local entry = (built.on_queues[job.queue] or built.entries)[job.name]
  if not entry then
    local message = ('no job "%s" is known to this worker'):format(job.name)
    return failed(message, "UNKNOWN_JOB", nil, "unknown_job")
  end
  if job.payload.sandbox == true and not entry[7] then
    local message
    entry, message = built.sandboxed(job.name, job.queue)
    if not entry then return failed(tostring(message), "JOB_ERROR") end
  end
  handle.max_retries = handle.max_retries or entry[5]
  local ceilings = ceilings_of(job.payload, entry, host.limits)
  local got, struck = limited(function()
    return pack(xpcall(function() return entry[1](job.payload.args, handle) end, ceilings and leave or keep))
  end, ceilings)
  forget(entry[2])
  local outcome
  if struck then
    outcome = failed(struck[3], struck[2], not got[1] and got[2].traceback or nil, struck[1])
  else
    outcome = read(got, host.marks, host.max_result)
  end
  outcome.result_ttl = entry[4]
  return outcome
end

return testing_run
