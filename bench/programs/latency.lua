-- latency.lua URL N GAP -- N jobs, GAP seconds apart, each told when its enqueue was called.
local naq = require("naq")
local core = require("naq.core")

local n, gap = tonumber(arg[2]), tonumber(arg[3])
local client = assert(naq.connect({ servers = { arg[1] } }))
local queue = client:queue("bench")
local last
for _ = 1, n do
  core.sleep(gap)
  last = assert(queue:enqueue("latency", { sent = core.mono() }))
end
assert(last:wait(10))
