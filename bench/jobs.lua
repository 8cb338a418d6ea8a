-- jobs.lua -- the jobs that bench/run measures.

local naq = require("naq")
local core = require("naq.core")

naq.job("noop", function() end)

-- Leaves no record when it succeeds.
naq.job("noop_forget", { result_ttl = 0 }, function() end)

-- args.sent is the client's monotonic clock just before it called enqueue.
naq.job("latency", function(args)
  local began = core.mono()
  return { sent = args.sent, began = began }
end)

naq.job("began", function()
  return { began = core.mono() }
end)

local LIMITS = { timeout = 60, cpu_limit = 60, memory_limit = "64MB" }
naq.job("noop_limited", LIMITS, function() end)

-- About a millisecond of one core.
local function burn()
  local x = 0
  for i = 1, 200000 do x = x + i % 7 end
  return x
end
naq.job("burn", burn)
naq.job("burn_limited", LIMITS, burn)
naq.job("burn_counted", { max_instructions = 1e9 }, burn)
