-- service_registry.lua -- named services that need each other: started on first use after what they need,
-- stopped in reverse. Knows nothing of NATS.
--
--   absent ──get()──> starting ──> running ──stop(), close()──> absent
--                        └──> absent, and with it whatever was started for it alone
local errors = require("naq.errors")
local options = require("naq.options")

---@class naq.ServiceRegistry
---@field entries table<string, table>   what was registered
---@field values table<string, any>      what runs
---@field started string[]               what runs, in the order in which it was started
---@field starting table<string, boolean>
---@field closed boolean
local Registry = {}
Registry.__index = Registry

local service_registry = {}

---@return naq.ServiceRegistry
function service_registry.new()
  local self = { entries = {}, values = {}, started = {}, starting = {}, closed = false }
  return setmetatable(self, Registry)
end

local DEFINITION = {
  needs = { type = "strings", default = {}, doc = "services to be started before" },
  start = { type = "function", doc = "start(needs): the value, or nil, message, code" },
  stop = { type = "function", doc = "stop(value)" },
}

-- The way from a service back to itself, or nil. What is not registered yet needs nothing so far.
local function cycle_from(entries, name, path)
  for i = 1, #path do
    if path[i] == name then return table.concat(path, " -> ", i) .. " -> " .. name end
  end
  path[#path + 1] = name
  for _, needed in ipairs(entries[name] and entries[name].needs or {}) do
    local cycle = cycle_from(entries, needed, path)
    if cycle then return cycle end
  end
  path[#path] = nil
  return nil
end

--- Add a service. Raises at `level` (1: the calling function) for a name that is taken, for a definition that
--- is none, and for one that closes a cycle.
---@param name string
---@param definition {needs: string[]?, start: function, stop: function?}
---@param level integer
function Registry:register(name, definition, level)
  if type(name) ~= "string" or name == "" then error("a service's name must be a string", level + 1) end
  if self.entries[name] then error(("there is a service '%s' already"):format(name), level + 1) end
  local entry = options.apply(DEFINITION, definition, level + 1)
  if not entry.start then error(("service '%s' has no start function"):format(name), level + 1) end
  self.entries[name] = entry
  local cycle = cycle_from(self.entries, name, {})
  if cycle then
    self.entries[name] = nil
    error("services cannot need each other: " .. cycle, level + 1)
  end
end

-- Stop what runs from the last started one down to `keep` of them, where wanted(name) says so. Every stop
-- function is called, whatever the others do; the first problem is told.
local function stop_down_to(self, keep, wanted)
  local problem
  for i = #self.started, keep + 1, -1 do
    local name = self.started[i]
    if wanted == nil or wanted[name] then
      local value, stop = self.values[name], self.entries[name].stop
      table.remove(self.started, i)
      self.values[name] = nil
      if stop then
        local ok, why = pcall(stop, value)
        if not ok then problem = problem or ("service %s did not stop: %s"):format(name, tostring(why)) end
      end
    end
  end
  return problem
end

local start

local function start_needed(self, name, entry)
  local needs = {}
  for _, needed in ipairs(entry.needs) do
    if not self.entries[needed] then
      local nearest = options.nearest(self.entries, needed)
      local hint = nearest and (" (did you mean '%s'?)"):format(nearest) or ""
      error(("service '%s' needs '%s', which is not registered%s"):format(name, needed, hint), 0)
    end
    local value, message, code = start(self, needed)
    if value == nil then return nil, message, code end
    needs[needed] = value
  end
  return needs
end

start = function(self, name)
  if self.values[name] ~= nil then return self.values[name] end
  if self.starting[name] then
    error(("service '%s' is asked for while it starts; name what it needs in `needs`"):format(name), 0)
  end
  local entry = self.entries[name]
  self.starting[name] = true
  local needs, message, code = start_needed(self, name, entry)
  if not needs then return nil, message, code end
  local value
  value, message, code = entry.start(needs)
  if self.closed then
    if value ~= nil and entry.stop then pcall(entry.stop, value) end
    return nil, ("service %s: closed while it started"):format(name), errors.CLOSED
  end
  if value == nil and message ~= nil then
    return nil, ("service %s: %s"):format(name, tostring(message)), code or errors.INVALID
  end
  if value == nil then value = true end
  self.values[name] = value
  self.started[#self.started + 1] = name
  self.starting[name] = nil
  return value
end

--- The value of a service, which is started, with what it needs, when it does not run. Where that fails, what
--- was started for it is stopped again. An error raised by a start function comes through.
---@param name string
---@param level integer  where an unknown name raises; 1: the calling function
---@return any value, string? message, naq.Code? code
function Registry:get(name, level)
  if self.closed then error("these services are closed", level + 1) end
  local value = self.values[name]
  if value ~= nil then return value end
  if not self.entries[name] then
    error((options.unknown(self.entries, name):gsub("option", "service", 1)), level + 1)
  end
  -- A start function may use other services, too: what it got itself, it keeps.
  local before, starting = #self.started, {}
  for each in pairs(self.starting) do
    starting[each] = true
  end
  local ok, message, code
  ok, value, message, code = pcall(start, self, name)
  if ok and value ~= nil then return value end
  self.starting = starting
  stop_down_to(self, before)
  if not ok then error(value, 0) end
  return nil, message, code
end

--- Whether it runs now.
---@return boolean
function Registry:runs(name) return self.values[name] ~= nil end

--- Stop a service and, before it, all that need it. They start again when they are used again.
---@param name string
---@return true? done, string? message, naq.Code? code  one of them raised
function Registry:stop(name)
  if not self:runs(name) then return true end
  local wanted = { [name] = true }
  for _, other in ipairs(self.started) do -- a service stands behind what it needs
    for _, needed in ipairs(self.entries[other].needs) do
      wanted[other] = wanted[other] or wanted[needed]
    end
  end
  local problem = stop_down_to(self, 0, wanted)
  if problem then return nil, problem, errors.INVALID end
  return true
end

--- Stop everything, the last started first. Twice is fine; used after it, it raises.
---@return true? done, string? message, naq.Code? code  a stop function raised; the others were called
function Registry:close()
  if self.closed then return true end
  self.closed = true
  local problem = stop_down_to(self, 0)
  if problem then return nil, problem, errors.INVALID end
  return true
end

return service_registry
