-- libnats tells of a slow subscription later, on a thread of its own, and names one that may be gone by then.

local core = require("naq.core")
local support = require("spec.support")

-- A process of its own: it crashed, and what it logs is a line a round.
local PROGRAM = [[
local naq = require("naq")
local conn = assert(naq.connection())
local told = 0
conn:on("slow_consumer", function() told = told + 1 end)
for i = 1, 2000 do
  local sub = assert(conn:subscribe("s" .. i, { max_messages = 1 }))
  assert(conn:publish("s" .. i, "1"))
  assert(conn:publish("s" .. i, "2"))
  assert(conn:flush())
  sub:close()
end
conn:dispatch(10)
assert(told > 0)
conn:close()
]]

describe("a subscription", function()
  local server, folder
  setup(function()
    server = support.nats.start({ jetstream = false })
    folder = assert(core.mkdtemp("naq-spec-slow"))
  end)
  teardown(function()
    server:stop()
    core.rmtree(folder)
  end)

  it("may be closed while the word that it is too slow is on its way", function()
    local file = assert(io.open(folder .. "/slow.lua", "w"))
    file:write(PROGRAM)
    file:close()
    local env = { NAQ_NATS_URL = server.url, NAQ_LOG_LEVEL = "error" }
    local status, out, errors = support.naq("run", folder .. "/slow.lua", { env = env })
    assert.same({ 0, "", "" }, { status, out, errors })
  end)
end)
