-- later.lua URL N FROM TO [now] -- N jobs in one call of queue:enqueue_many, due evenly between FROM and TO
-- seconds from now, in an order that has nothing to do with their times; with "now", as many without a time.
local core = require("naq.core")
local naq = require("naq")

local n, from, to = tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local queue = assert(naq.connect({ servers = { arg[1] } })):queue("bench")
local args = { user = 12345, name = "Ada Lovelace", ok = true, sizes = { 1, 2, 3 },
  url = "https://example.org/pictures/1.png" }
local base, left, seconds, cpu = core.now(), n, 0, 0
-- In parts: the list itself is not what is measured, nor its memory.
while left > 0 do
  local list = {}
  for i = 1, math.min(left, 100000) do
    local at = base + from + (to - from) * ((left - i) * 7919 % n) / n
    list[i] = { "noop", args, arg[5] ~= "now" and { at = at } or nil }
  end
  local c, t = os.clock(), core.mono()
  local jobs, refused = queue:enqueue_many(list)
  seconds, cpu = seconds + core.mono() - t, cpu + os.clock() - c
  assert(jobs, refused)
  assert(not next(refused), "some jobs were refused")
  left = left - #list
end
print(("n=%d rate=%.0f client_us=%.2f"):format(n, n / seconds, cpu / n * 1e6))
