-- hooks.lua -- naq.before, naq.after, naq.around: what a job file has registered. hook_chain.lua runs it.
local hooks = {}

-- Of the job file that is being loaded.
local registered = {}
local sealed = false

--- Record a hook. Raises at `level` (1: the calling function) for what is no function.
---@param kind "before"|"around"|"after"
---@param fn function
---@param level integer
function hooks.add(kind, fn, level)
  if type(fn) ~= "function" then
    error(("naq.%s() takes a function, not a %s"):format(kind, type(fn)), level + 1)
  end
  if sealed then error(("naq.%s() is for job files, while they are loaded"):format(kind), level + 1) end
  registered[#registered + 1] = { kind = kind, fn = fn }
end

--- All hooks since the last call, in order; forgets them here.
---@return {kind: string, fn: function}[]
function hooks.take()
  local taken = registered
  registered = {}
  return taken
end

--- Hooks that are registered from here on would never run.
function hooks.seal() sealed = true end

return hooks
