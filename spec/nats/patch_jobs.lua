-- luacheck: ignore 122 142 143
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
  return { t[1], string.format("%d", 7), ("%d"):format(8), type(string.trim), listed > 10, ("x"):at_load(),
    collectgarbage("isrunning") }
end)

-- While a file is loaded it may.
function string.at_load(s) return s .. "!" end
