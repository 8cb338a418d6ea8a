-- enqueue.lua URL N -- N jobs, one queue:enqueue after the other.
local naq = require("naq")
local core = require("naq.core")

local n = tonumber(arg[2])
local queue = assert(naq.connect({ servers = { arg[1] } })):queue("bench")
local args = { user = 12345, name = "Ada Lovelace", ok = true, sizes = { 1, 2, 3 },
  url = "https://example.org/pictures/1.png" }

local cpu, t = os.clock(), core.mono()
for _ = 1, n do assert(queue:enqueue("noop", args)) end
t, cpu = core.mono() - t, os.clock() - cpu
print(("n=%d rate=%.0f client_us=%.2f"):format(n, n / t, cpu / n * 1e6))
