-- failure.lua -- an error value as message and code, as the core tells it (csrc/run/vm.c): only raw accesses,
-- so that nothing of the job's runs here.
local failure = {}

local function field(t, name)
  local value = rawget(t, name)
  if type(value) == "string" or type(value) == "number" then return tostring(value) end
  return nil
end

---@param err any
---@return string message, string code
function failure.describe(err)
  if type(err) == "string" or type(err) == "number" then return tostring(err), "JOB_ERROR" end
  if type(err) == "table" then
    return field(err, "message") or "error without a message", field(err, "code") or "JOB_ERROR"
  end
  return ("(error value of type %s)"):format(type(err)), "JOB_ERROR"
end

return failure
