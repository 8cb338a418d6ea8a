-- sandbox.lua -- job files loaded once more, where there is nothing but Lua itself: no files, no processes,
-- no C modules, no bytecode, no debug library, nothing of the worker's. What a function made there can reach
-- was made there, or is one of the plain functions below.
local core = require("naq.core")
local library = require("naq.library")

local sandbox = {}

local PLAIN = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "print", "rawequal", "rawget", "rawlen", "select",
  "tonumber", "tostring", "type", "xpcall",
}
local LIBRARIES = {
  coroutine = { "close", "create", "isyieldable", "resume", "running", "status", "wrap", "yield" },
  math = {
    "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max",
    "maxinteger", "min", "mininteger", "modf", "pi", "rad", "random", "sin", "sqrt", "tan", "tointeger",
    "type", "ult",
  },
  os = { "clock", "date", "difftime", "time" },
  string = {
    "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep",
    "reverse", "sub", "unpack", "upper",
  },
  table = { "concat", "insert", "move", "pack", "remove", "sort", "unpack" },
  utf8 = { "char", "charpattern", "codepoint", "codes", "len", "offset" },
}

local function never() return false end

-- Metatables: only those that the sandbox set itself can be had back. The others (of strings, of arrays,
-- of the job) are shared with code outside. A finalizer would run when nothing can stop it.
local function metatables(globals)
  local ours = setmetatable({}, { __mode = "k" })
  function globals.setmetatable(t, mt)
    if type(mt) == "table" then
      if rawget(mt, "__gc") ~= nil then error("a finalizer (__gc) is not for the sandbox", 2) end
      ours[mt] = true
    end
    return setmetatable(t, mt)
  end
  function globals.getmetatable(value)
    local mt = type(value) == "table" and debug.getmetatable(value) or nil
    if not mt or not ours[mt] then return nil end
    return getmetatable(value)
  end
end

local function tables(globals)
  local guards = {}
  for name, fields in pairs(LIBRARIES) do
    local real = {}
    for _, field in ipairs(fields) do
      real[field] = (_G[name] or {})[field] -- Lua 5.1 (naq.testing) lacks some
    end
    globals[name] = library.guard(real, name, never)
    guards[globals[name]] = true
  end
  function globals.rawset(t, field, value)
    if guards[t] or t == globals then error("the standard library cannot be changed", 2) end
    return rawset(t, field, value)
  end
end

-- What stands for require("naq"): definitions while a file is loaded, and values.
local function naq_inside(loading)
  local module = { array = core.array, null = core.null, version = require("naq.version") }
  function module.job(name, options, fn)
    if loading.jobs then loading.jobs[name] = type(options) == "function" and options or fn end
  end
  -- Whatever else a file does at load (schedules, hooks) was done when it was loaded outside.
  return setmetatable(module, {
    __index = function(_, name)
      return function()
        if not loading.jobs then error(("naq.%s() is not for the sandbox"):format(tostring(name)), 2) end
      end
    end,
  })
end

--- A sandbox of this state.
---@param dirs string[]  where require() may look
---@param from naq.Sources
---@return table sandbox  load(path, name) -> jobs, own, or nil, message
function sandbox.new(dirs, from)
  local globals, loading, loaded = { _VERSION = _VERSION }, {}, {}
  for _, name in ipairs(PLAIN) do
    globals[name] = _G[name]
  end
  metatables(globals)
  tables(globals)
  globals.collectgarbage = function(what)
    if what ~= "count" then error("the sandbox has collectgarbage('count') only", 2) end
    return collectgarbage("count")
  end
  loaded.naq = naq_inside(loading)

  -- Globals as in runner.lua: what the file defines stays, what a job sets is forgotten.
  local function environment()
    local defined = setmetatable({}, { __index = globals, __metatable = false })
    local own = setmetatable({}, { __index = defined, __metatable = false })
    defined._G = own
    defined.load = function(chunk, name, _, env) return load(chunk, name, "t", env == nil and own or env) end
    return own, defined
  end

  local function find(name)
    if not name:match("^[%w_-][%w_.-]*$") or name:find("..", 1, true) then return nil end
    for _, dir in ipairs(dirs) do
      local base = dir .. "/" .. name:gsub("%.", "/")
      for _, path in ipairs({ base .. ".lua", base .. "/init.lua" }) do
        if from:exists(path) then return path end
      end
    end
    return nil
  end

  function globals.require(name)
    if type(name) ~= "string" then error("require takes a module's name", 2) end
    if loaded[name] ~= nil then return loaded[name] end
    local path = find(name)
    if not path then
      error(("module '%s': the sandbox has those of the job directories only"):format(name), 2)
    end
    local own = environment()
    local chunk, message = from:load(path, own)
    if not chunk then error(message, 2) end
    loaded[name] = true
    local value = chunk(name, path)
    if value ~= nil then loaded[name] = value end
    return loaded[name]
  end
  setmetatable(globals, { __metatable = false })

  local self = {}

  --- The jobs of one file, as functions made inside, and their globals.
  ---@return table<string, function>? jobs, table|string own_or_message
  function self.load(path, name)
    local own, defined = environment()
    local chunk, message = from:load(path, own)
    if not chunk then return nil, message end
    local jobs = {}
    loading.jobs = jobs
    local ok, returned = pcall(chunk, name)
    loading.jobs = nil
    if not ok then return nil, tostring(returned) end
    if type(returned) == "function" then jobs[name] = returned end
    for field, value in pairs(own) do
      defined[field] = value
    end
    for field in pairs(own) do
      own[field] = nil
    end
    return jobs, own
  end

  return self
end

return sandbox
