-- library.lua -- the standard library as job files see it: whole while they are loaded, read-only while
-- jobs run. So no job sees what another did to string.format, and none has to pay for a copy of its own:
-- a field of a guarded table costs one more table access, a method of a string none.
--
-- Guarded is what job files reach by name, and what require() of such a name answers. Modules that they
-- require see Lua's own tables as globals.

local library = {}

local TABLES = { "coroutine", "debug", "io", "math", "os", "package", "string", "table", "utf8" }

local function refuse(name, field, level)
  local text = "%s.%s: the standard library cannot be changed by a running job"
  error(text:format(name, tostring(field)), level + 1)
end

-- An empty table that answers with what real has. Its metatable cannot be got at, so neither can real.
---@param writable fun(): boolean
---@param shown? table  what it answers with instead
local function guard(real, name, writable, shown)
  local function shown_next(_, field)
    field = next(real, field)
    return field, shown[field]
  end
  return setmetatable({}, {
    __index = shown or real,
    __len = function() return #real end,
    __newindex = function(_, field, value)
      if not writable() then refuse(name, field, 2) end
      real[field] = value
    end,
    __pairs = function()
      if shown then return shown_next, nil, nil end
      return next, real, nil
    end,
    __metatable = false,
  })
end

library.guard = guard

-- package.loaded: modules are shared, and a job may replace them; but not the library among them.
---@param named table<string, table>  the library's guards
local function guard_loaded(real, named, writable)
  return setmetatable({}, {
    __index = real,
    __newindex = function(_, name, value)
      if named[name] and not writable() then refuse("package.loaded", name, 2) end
      real[name] = value
    end,
    __pairs = function() return next, real, nil end,
    __metatable = false,
  })
end

-- The package library: what leads to the others is guarded as they are.
local function guard_package(named, guards, writable)
  local real = _G.package
  local loaded = guard_loaded(real.loaded, named, writable)
  guards[loaded] = "package.loaded"
  local shown = setmetatable({ loaded = loaded }, { __index = real })
  for _, name in ipairs({ "preload", "searchers", "loaders" }) do
    if real[name] then
      shown[name] = guard(real[name], "package." .. name, writable)
      guards[shown[name]] = "package." .. name
    end
  end
  return guard(real, "package", writable, shown)
end

-- What getmetatable() answers for values whose metatable everybody shares.
local function guard_metatable(metatable, methods, name, writable)
  local fields = setmetatable({ __index = methods }, { __index = metatable })
  metatable.__metatable = guard(fields, name, writable)
end

--- rawset() that does not get around the guards.
---@param guards table<table, string>  their names
local function guarded_rawset(guards, named, writable)
  return function(t, field, value)
    local name = guards[t]
    if not name then return rawset(t, field, value) end
    local free = writable() or (name == "package.loaded" and not named[field])
    if not free then refuse(name, field, 2) end
    t[field] = value
    return t
  end
end

--- A table of all globals with the library's tables guarded, for the environments of job files; and the
--- function to call when they are loaded.
---@param alone? boolean  nobody else uses this state: require() and the metatables of strings and files,
---        which are everybody's, are guarded as well
---@return table globals, fun() seal
function library.open(alone)
  local sealed = false
  local function writable() return not sealed end
  local globals, guards, named = {}, {}, {}
  for name, value in pairs(_G) do
    globals[name] = value
  end
  for _, name in ipairs(TABLES) do
    if _G[name] then named[name] = guard(_G[name], name, writable) end
  end
  named._G = guard(_G, "_G", writable)
  named.package = guard_package(named, guards, writable)
  for name, guarded in pairs(named) do
    guards[guarded] = name
    if name ~= "_G" then globals[name] = guarded end
    if alone then _G.package.loaded[name] = guarded end
  end
  globals.rawset = guarded_rawset(guards, named, writable)

  local function seal()
    sealed = true
    if not alone then return end
    guard_metatable(debug.getmetatable(""), globals.string, 'getmetatable("")', writable)
    local files = debug.getmetatable(io.stdout)
    guard_metatable(files, guard(files.__index, "file", writable), "getmetatable(file)", writable)
  end
  -- A global that a module makes later is seen, too.
  return setmetatable(globals, { __index = _G }), seal
end

return library
