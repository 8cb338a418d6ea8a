-- With a seed each connect answers a challenge, and libnats' answer is an empty one once in 256 times.

local core = require("naq.core")
local nkeys = require("spec.support.nkeys")
local support = require("spec.support")

-- With one try each, four or sixteen of them would be refused.
local TIMES = os.getenv("NAQ_TEST_SCALE") == "full" and 4000 or 1000

describe("credentials", function()
  it("are accepted every time", function()
    local operator = nkeys.operator()
    local server = support.nats.start({ config = operator.config, jetstream = false })
    local creds = operator.user()
    for _ = 1, TIMES do
      local conn = assert(core.connect({ servers = { server.url }, creds_file = creds }))
      conn:close()
      core.close_connections()
    end
    server:stop()
    operator.remove()
  end)
end)
