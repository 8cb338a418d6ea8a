-- declarations.lua -- what naq.schedule() said while a worker reads its job files. Elsewhere naq.schedule()
-- creates at once, and nothing comes here.
---@class naq.Declaration
---@field id string
---@field definition naq.ScheduleDefinition
---@field file string?  where it stands

local declarations = {
  --- While a job file is being loaded.
  open = false,
  ---@type naq.Declaration[]
  list = {},
}

--- Note one. Raises at `level` (1: the calling function) for what cannot be: a worker must not start
--- with half of its schedules.
---@param id string
---@param definition naq.ScheduleDefinition
---@param level integer
function declarations.add(id, definition, level)
  local schedule_record = require("naq.schedule_record") -- most job files declare none
  local problem = schedule_record.id_problem(id)
  if problem then error(problem, level + 1) end
  schedule_record.check(definition, level + 1)
  local made, message = schedule_record.new(definition, definition.queue or "default", 0)
  if not made then error(("schedule %s: %s"):format(id, message), level + 1) end
  for _, known in ipairs(declarations.list) do
    if known.id == id then error(("schedule %s is declared twice"):format(id), level + 1) end
  end
  table.insert(declarations.list, { id = id, definition = definition })
end

--- All since the last call; forgets them here.
---@return naq.Declaration[]
function declarations.take()
  local taken = declarations.list
  declarations.list = {}
  return taken
end

return declarations
