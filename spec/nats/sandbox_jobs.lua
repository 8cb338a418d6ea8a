-- Jobs for sandbox_spec.lua: what they return tells what they could reach.
local naq = require("naq")

local at_load = "an upvalue"
shared = { count = 0 } -- luacheck: ignore

local function reach(args)
  local chunk, message = load("return " .. args.code)
  if not chunk then return nil, message end
  local value = chunk(args)
  if value == nil then value = naq.null end
  return value
end

naq.job("inside", { sandbox = true }, reach)
naq.job("outside", reach)
naq.job("upvalue", { sandbox = true }, function() return at_load end)
naq.job("global", { sandbox = true }, function(args)
  local before = left_behind -- luacheck: ignore
  left_behind = args -- luacheck: ignore
  return { before = before or naq.null, shared = shared.count } -- luacheck: ignore
end)
naq.job("with_job", { sandbox = true, max_retries = 2 }, function(_, job)
  return { job.name, job.attempt, job.max_retries, type(job.enqueue), getmetatable(job) == nil }
end)
naq.job("spin", { sandbox = true, timeout = 0.1, max_retries = 0 }, function()
  while true do pcall(error, {}) end
end)
naq.job("module", { sandbox = true }, function(args) return require(args.name).hello() end)
naq.job("io_in_function", function() return io.open("/etc/passwd") and "open" end)
