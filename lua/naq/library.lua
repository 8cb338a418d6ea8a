-- library.lua -- the standard library as job files see it: whole while they are loaded, read-only while
-- jobs run. So no job sees what another did to string.format, and none has to pay for a copy of its own:
-- a field of a guarded table costs one more table access, a method of a string none.
--
-- Guarded is what job files reach by name. Modules that they require see Lua's own tables.

local library = {}

local TABLES = { "coroutine", "debug", "io", "math", "os", "package", "string", "table", "utf8" }

local function refuse(name, field, level)
  local text = "%s.%s: the standard library cannot be changed by a running job"
  error(text:format(name, tostring(field)), level + 1)
end

-- An empty table that answers with what real has. Its metatable cannot be got at, so neither can real.
---@param writable fun(): boolean
local function guard(real, name, writable)
  return setmetatable({}, {
    __index = real,
    __newindex = function(_, field, value)
      if not writable() then refuse(name, field, 2) end
      real[field] = value
    end,
    __pairs = function() return next, real, nil end,
    __metatable = false,
  })
end

library.guard = guard

--- rawset() that does not get around the guards.
---@param guards table<table, string>  their names
local function guarded_rawset(guards, writable)
  return function(t, field, value)
    local name = guards[t]
    if not name then return rawset(t, field, value) end
    if not writable() then refuse(name, field, 2) end
    t[field] = value
    return t
  end
end

--- A table of all globals with the library's tables guarded, for the environments of job files; and the
--- function to call when they are loaded.
---@return table globals, fun(strings_too: boolean?) seal  also what getmetatable("") answers
function library.open()
  local sealed = false
  local function writable() return not sealed end
  local globals, guards = {}, {}
  for name, value in pairs(_G) do
    globals[name] = value
  end
  for _, name in ipairs(TABLES) do
    if _G[name] then globals[name] = guard(_G[name], name, writable) end
    if _G[name] then guards[globals[name]] = name end
  end
  globals.rawset = guarded_rawset(guards, writable)

  local function seal(strings_too)
    sealed = true
    if not strings_too then return end
    -- What getmetatable("") answers from here on.
    local strings = debug.getmetatable("")
    local fields = setmetatable({ __index = globals.string }, { __index = strings })
    strings.__metatable = guard(fields, 'getmetatable("")', writable)
  end
  -- A global that a module makes later is seen, too.
  return setmetatable(globals, { __index = _G }), seal
end

return library
