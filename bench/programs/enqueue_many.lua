-- enqueue_many.lua URL N -- N jobs in one call of queue:enqueue_many.
local naq = require("naq")
local core = require("naq.core")

local n = tonumber(arg[2])
local queue = assert(naq.connect({ servers = { arg[1] } })):queue("bench")
local args = { user = 12345, name = "Ada Lovelace", ok = true, sizes = { 1, 2, 3 },
  url = "https://example.org/pictures/1.png" }
local list = {}
for i = 1, n do list[i] = { "noop", args } end

local cpu, t = os.clock(), core.mono()
local jobs, errors = queue:enqueue_many(list)
t, cpu = core.mono() - t, os.clock() - cpu
assert(jobs, errors)
assert(#jobs == n and not next(errors or {}), "some jobs were refused")
print(("n=%d rate=%.0f client_us=%.2f"):format(n, n / t, cpu / n * 1e6))
