-- queue_set.lua URL CONCURRENCY RATE -- limits of the benchmark's queue.
local naq = require("naq")

local client = assert(naq.connect({ servers = { arg[1] } }))
local settings = { concurrency = tonumber(arg[2]), rate_limit = tonumber(arg[3]) }
assert(client:queue("bench"):configure(settings))
client:close()
