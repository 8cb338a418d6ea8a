-- luacheck: ignore 113 122 142 143
-- Monkey-patches of running jobs, and what the next one sees, for sandbox_spec.lua.
local naq = require("naq")

local PATCHES = {
  remove = function() string.format = nil end,
  replace = function() table.insert = print end,
  add = function() string.trim = print end,
  rawset = function() rawset(string, "format", print) end,
  metatable = function() setmetatable(string, {}) end,
  strings = function() getmetatable("").__index = {} end,
  strings_library = function() getmetatable("").__index.format = print end,
  globals = function() setmetatable(_G, {}) end,
  required = function() require("string").format = print end,
  loaded = function() package.loaded.string.format = print end,
  loaded_listed = function()
    for name, value in pairs(package) do
      if name == "loaded" then value.string = {} end
    end
  end,
  loaded_name = function() package.loaded.string = {} end,
  loaded_raw = function() rawset(package.loaded, "string", {}) end,
  loaded_globals = function() require("_G").trim = print end,
  searchers = function() package.searchers[1] = nil end,
  path = function() package.path = "" end,
  files = function() getmetatable(io.stdout).__index.write = print end,
  class = function(job) getmetatable(job).__index = print end,
  hidden = function() _G.string = nil; string = nil; pairs = nil end, -- luacheck: ignore
  collector = function() collectgarbage("stop") end,
}
naq.job("patch", { max_retries = 0 }, function(args, job) PATCHES[args.how](job) end)
naq.job("see", function()
  local t = {}
  table.insert(t, "x")
  local listed = 0
  for _ in pairs(string) do listed = listed + 1 end
  for _ in pairs(package.loaded) do listed = listed + 1 end
  assert(require("string").format("%d", 7) == "7" and trim == nil and #package.searchers == 4)
  assert(package.loaded.string == string and package.loaded.naq == require("naq"))
  assert(type(getmetatable(io.stdout).__index.write) == "function" and io.type(io.stdout) == "file")
  package.loaded.shared = nil -- a module of its own it may forget
  return { t[1], string.format("%d", 7), ("%d"):format(8), type(string.trim), listed > 20, ("x"):at_load(),
    collectgarbage("isrunning") }
end)

-- While a file is loaded it may.
function string.at_load(s) return s .. "!" end
