-- js_publish.lua URL N [async] -- N messages of 100 bytes into a stream; 0: only made, new and empty.
local naq = require("naq")
local core = require("naq.core")

local n, async = tonumber(arg[2]), arg[3] == "async"
local conn = assert(naq.connection({ servers = { arg[1] } }))
local js = conn:jetstream()
if n == 0 then assert(js:add_stream("BENCH", { subjects = { "bench.js" } })) end
local data = ("v"):rep(100)

local cpu, t = os.clock(), core.mono()
if async then
  for _ = 1, n do assert(js:publish_async("bench.js", data)) end
  assert(assert(js:await(60)) == n)
else
  for _ = 1, n do assert(js:publish("bench.js", data)) end
end
t, cpu = core.mono() - t, os.clock() - cpu
print(("n=%d rate=%.0f client_us=%.2f"):format(n, n / t, cpu / n * 1e6))
conn:close()
