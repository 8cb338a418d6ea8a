-- paced.lua URL N -- how late were the N jobs that naq-baseline has published each at its time? Removes them.
local jetstream_api = require("naq.jetstream_api")
local lateness = require("lateness")
local naq = require("naq")

local client = assert(naq.connect({ servers = { arg[1] } }))
print(lateness.measure(client.conn, tonumber(arg[2]), lateness.due_of, 0))
assert(jetstream_api.call(client.conn, "STREAM.PURGE", "naq_jobs", {}))
client:close()
