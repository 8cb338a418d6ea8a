-- layout.lua URL -- naq's streams and buckets on an empty server.
local core = require("naq.core")

local conn = assert(core.connect({ servers = arg[1] }))
assert(conn:ensure_layout({ prefix = "naq" }))
conn:close()
