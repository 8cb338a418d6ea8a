-- definitions.lua -- what naq.job() recorded in this Lua state, by name. A worker's runner takes it after
-- it has loaded a job file; elsewhere it only stands here, so that a job file can be shared.
local options = require("naq.options")
local policy = require("naq.policy")

---@class naq.Definition
---@field name string
---@field options table     policy options, as given
---@field fn function
---@field source string?    "jobs.lua:12"

local definitions = {
  ---@type table<string, naq.Definition>
  list = {},
  --- While a worker loads its job files: a name stands for one definition, even of the same line.
  strict = false,
}

-- Every option of naq.job(name, options, fn).
local JOB = {}
for _, part in ipairs({ policy.DECLARATION, policy.LIMITS }) do
  for name, declared in pairs(part) do
    JOB[name] = declared
  end
end

--- Record a job. Raises at `level` (as options.apply counts, default 2) for what is not a definition: a
--- worker must not start with half of one. Another definition of the same name raises too, unless it
--- comes from the same place (a file loaded twice).
---@param name string
---@param given table?
---@param fn function
---@param source string?
---@param level integer?
---@return naq.Definition
function definitions.add(name, given, fn, source, level)
  level = level or 2
  if type(name) ~= "string" or name == "" then
    error("a job's name must be a string that is not empty", level + 1)
  end
  if type(fn) ~= "function" then error(("job '%s' has no function"):format(name), level + 1) end
  local checked, message = options.apply(JOB, given, level + 1)
  if not checked then error(("job '%s': %s"):format(name, message), level + 1) end
  local known = definitions.list[name]
  if known and (definitions.strict or not source or known.source ~= source) then
    error(("job '%s' is already defined at %s"):format(name, known.source or "another place"), level + 1)
  end
  local definition = { name = name, options = checked, fn = fn, source = source }
  definitions.list[name] = definition
  return definition
end

--- All definitions so far, by name; forgets them here.
---@return table<string, naq.Definition>
function definitions.take()
  local taken = definitions.list
  definitions.list = {}
  return taken
end

return definitions
