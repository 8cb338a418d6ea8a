-- kv_get.lua URL N [leader] -- one key of 100 bytes, read N times; 0: only written.
local naq = require("naq")
local core = require("naq.core")

local n = tonumber(arg[2])
local conn = assert(naq.connection({ servers = { arg[1] } }))
local kv = assert(conn:jetstream():kv("bench", { direct = arg[3] ~= "leader" }))
if n == 0 then assert(kv:put("key", ("v"):rep(100))) end

local cpu, t = os.clock(), core.mono()
for _ = 1, n do assert(#assert(kv:get("key")) == 100) end
t, cpu = core.mono() - t, os.clock() - cpu
print(("n=%d rate=%.0f client_us=%.2f"):format(n, n / t, cpu / n * 1e6))
conn:close()
