-- testing_asserts.lua -- what a test says about enqueued jobs, with a message that shows what was there.
local core = require("naq.core")

local testing_asserts = {}

-- Whether `value` has all that `wanted` names; tables of `wanted` may be a part of those in `value`.
local function includes(value, wanted)
  if type(wanted) ~= "table" or wanted == core.null then return value == wanted end
  if type(value) ~= "table" then return false end
  for key, expected in pairs(wanted) do
    if not includes(value[key], expected) then return false end
  end
  return true
end

local FILTERS = {
  job = true, queue = true, priority = true, state = true, id = true, args = true, count = true,
}

--- Whether a job is one of those that the filter means.
---@param one table     as client:enqueued() lists it
---@param filter table?
function testing_asserts.matches(one, filter)
  for name, wanted in pairs(filter or {}) do
    if name ~= "count" and not includes(one[name], wanted) then return false end
  end
  return true
end

--- Raises for a filter that names what no job has.
function testing_asserts.check(filter, level)
  if filter ~= nil and type(filter) ~= "table" then error("a filter is a table", level + 1) end
  for name in pairs(filter or {}) do
    if not FILTERS[name] then
      local message = "a filter has job, queue, priority, state, id, args, count; not '%s'"
      error(message:format(tostring(name)), level + 1)
    end
  end
end

local function shown(value) return value == nil and "nil" or core.encode(value) or tostring(value) end

local function describe(one)
  return ("%s on %s (%s) %s"):format(one.job, one.queue, one.state, shown(one.args))
end

local function wanted_text(name, filter)
  local parts = { "job " .. name }
  for _, field in ipairs({ "queue", "priority", "state", "id", "args" }) do
    if filter[field] ~= nil then parts[#parts + 1] = field .. " " .. shown(filter[field]) end
  end
  return table.concat(parts, ", ")
end

--- What is wrong, or nil. count: so many, else at least one.
---@param all table[]
---@return string? problem
function testing_asserts.problem(all, name, filter, count)
  local found = 0
  for _, one in ipairs(all) do
    if one.job == name and testing_asserts.matches(one, filter) then found = found + 1 end
  end
  if count and found == count or not count and found > 0 then return nil end
  local expected = count == 0 and "none" or count and ("exactly %d"):format(count) or "at least one"
  local lines = { ("expected %s of: %s"):format(expected, wanted_text(name, filter)) }
  lines[#lines + 1] = ("found %d among %d enqueued:"):format(found, #all)
  for i, one in ipairs(all) do
    lines[#lines + 1] = i <= 20 and "  " .. describe(one) or nil
  end
  if #all > 20 then lines[#lines + 1] = "  ..." end
  return table.concat(lines, "\n")
end

return testing_asserts
