-- hook_chain.lua -- functions of job files that run with every job, and the one function that a job becomes
-- with them:
--
--   before hooks, in order -> around hooks, the first outermost -> the job -> after hooks, the last first
--
-- An error in any of them is the job's. Loaded where there are hooks only: others pay nothing.
local core = require("naq.core")
local describe = require("naq.failure").describe

local hook_chain = {}

local unpack = table.unpack or unpack -- luacheck: ignore 113 143
local function pack(...) return { n = select("#", ...), ... } end

local KINDS = { "before", "around", "after" }

-- An error with the place where it was raised, kept while the stack still stood.
local Caught = {}

local function keep(err) return setmetatable({ err = err, traceback = debug.traceback("", 2) }, Caught) end

-- Memory errors come without a handler's word.
local function raised(caught)
  if getmetatable(caught) == Caught then return caught.err, caught.traceback end
  return caught, nil
end

local function raise_again(caught)
  local err, traceback = raised(caught)
  local message, code = describe(err)
  error({ message = message, code = code, traceback = (traceback or ""):gsub("^\n", "") }, 0)
end

-- ok, result, or false, message, code: what after hooks are told.
local function told(got, marks)
  if not got[1] then return false, describe((raised(got[2]))) end
  local first, second, third = got[2], got[3], got[4]
  if first ~= nil and first == marks.snooze then
    return false, ("snoozed for %g s"):format(second), "SNOOZED"
  end
  if first ~= nil and first == marks.discard then return false, second or "discarded", "DISCARDED" end
  if first == nil and second ~= nil then
    local message, code = describe(second)
    return false, message, type(third) == "string" and third or code
  end
  return true, first
end

local function preceded(inner, before)
  return function(args, job)
    for i = 1, #before do
      before[i](job, args)
    end
    return inner(args, job)
  end
end

-- Whether a hook returned something of its own: nothing, and the first value of what next() returned, leave
-- that as it is. So a hook that hands on one value loses neither an error nor a reason behind it.
local function has_own(own, results)
  if own.n == 0 then return false end
  return not results or own[2] ~= nil or not rawequal(own[1], results[1])
end

local function surrounded(inner, hook)
  return function(args, job)
    local called, results = false, nil
    local function run_next()
      if called then error("an around hook called next() twice", 2) end
      called = true
      results = pack(inner(args, job))
      return unpack(results, 1, results.n)
    end
    local own = pack(hook(job, run_next))
    if has_own(own, results) then return unpack(own, 1, own.n) end
    if not called then error("an around hook returned nothing and did not call next()", 0) end
    if not results then error("an around hook caught the job's error and returned nothing", 0) end
    return unpack(results, 1, results.n)
  end
end

local function followed(inner, after, marks)
  return function(args, job)
    local got = pack(xpcall(function() return inner(args, job) end, keep))
    local ok, value, code = told(got, marks)
    local failure
    for i = #after, 1, -1 do
      local fine, caught = xpcall(function() after[i](job, ok, value, code) end, keep)
      if not fine and ok and not failure then
        failure = caught
      elseif not fine then
        local message = describe((raised(caught)))
        core.log("error", ("job %s: an after hook failed as well: %s"):format(tostring(job.id), message))
      end
    end
    if failure then raise_again(failure) end
    if not got[1] then raise_again(got[2]) end
    return unpack(got, 2, got.n)
  end
end

-- What hooks set as globals is forgotten before the next job, as what jobs set is.
local function forget(globals)
  for i = 1, #globals do
    local own = globals[i]
    while next(own) ~= nil do
      own[next(own)] = nil
    end
  end
end

--- A job's function with the hooks around it.
---@param fn fun(args: any, job: table): ...
---@param list {kind: string, fn: function, own: table?}[]  own: the globals of its file
---@param marks {snooze: any, discard: any}  what job:snooze() and job:discard() return first
---@return fun(args: any, job: table): ...
function hook_chain.wrap(fn, list, marks)
  local by_kind, globals, seen = {}, {}, {}
  for _, kind in ipairs(KINDS) do
    by_kind[kind] = {}
  end
  for _, hook in ipairs(list) do
    table.insert(by_kind[hook.kind], hook.fn)
    if hook.own and not seen[hook.own] then
      seen[hook.own] = true
      globals[#globals + 1] = hook.own
    end
  end
  local call = fn
  for i = #by_kind.around, 1, -1 do
    call = surrounded(call, by_kind.around[i])
  end
  if #by_kind.before > 0 then call = preceded(call, by_kind.before) end
  if #by_kind.after > 0 then call = followed(call, by_kind.after, marks) end
  return function(args, job)
    forget(globals)
    return call(args, job)
  end
end

return hook_chain
