-- id_rule.lua -- what may name a job, a queue, a worker: the rule, and the sentences for what breaks it.
local core = require("naq.core")

local errors = require("naq.errors")

local id_rule = {}

--- What is wrong with a name, as options.lua wants it: "must be ...", or nil.
---@param value any
---@return string?
function id_rule.problem(value)
  if core.valid_id(value) then return nil end
  return ("must be 1 to 64 of [A-Za-z0-9_-], not '%s'"):format(tostring(value))
end

--- Whether value may be a job's id.
---@param value any
---@return true? fine, string? message, naq.Code? code  INVALID
function id_rule.of_job(value)
  if core.valid_id(value) then return true end
  return nil, ("job id '%s' must be 1 to 64 of [A-Za-z0-9_-]"):format(tostring(value)), errors.INVALID
end

return id_rule
