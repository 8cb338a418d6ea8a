-- alone.lua URL -- removes every reader of the delayed store, as a new leader does.
local api = require("naq.jetstream_api")
local naq = require("naq")

local client = assert(naq.connect({ servers = { arg[1] } }))
local names = assert(api.call(client.conn, "CONSUMER.NAMES", "naq_delayed")).consumers
for _, name in ipairs(names or {}) do
  assert(api.call(client.conn, "CONSUMER.DELETE", "naq_delayed." .. name))
end
client:close()
