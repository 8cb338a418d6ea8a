-- paced.lua URL N -- how late were the N jobs that naq-baseline has published each at its time?
local lateness = require("lateness")
local naq = require("naq")

local client = assert(naq.connect({ servers = { arg[1] } }))
print(lateness.measure(client.conn, tonumber(arg[2]), lateness.due_of, 0))
client:close()
