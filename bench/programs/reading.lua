-- reading.lua URL N -- N jobs in one call into the bucket that a scheduler in this process reads, none of
-- them due soon.
local core = require("naq.core")
local naq = require("naq")
local url, n = arg[1], tonumber(arg[2])
local BUCKET = 600
-- The end of the bucket is to be far.
core.shift_clock(BUCKET - core.now() % BUCKET + 10)
local client = assert(naq.connect({ servers = { url } }))
local scheduler = assert(core.scheduler({ connect = { servers = { url } } }))
local queue = client:queue("bench")
local args = { user = 12345, name = "Ada Lovelace", ok = true, sizes = { 1, 2, 3 },
  url = "https://example.org/pictures/1.png" }
while not scheduler:leads() do core.sleep(0.01) end
core.sleep(0.5)
local list, opts = {}, { at = core.now() + 300 }
for i = 1, n do list[i] = { "noop", args, opts } end
local t = core.mono()
local jobs, refused = queue:enqueue_many(list)
t = core.mono() - t
assert(jobs, refused)
scheduler:close()
client:close()
print(("n=%d rate=%.0f"):format(n, n / t))
