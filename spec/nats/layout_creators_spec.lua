-- Streams and buckets where several want to make them at once, and where something stands in their way.

local support = require("spec.support")
local nats = support.nats

local CREATORS = 6

describe("the layout", function()
  local server

  before_each(function() server = nats.start() end)
  after_each(function() server:stop() end)

  it("is made once by many who begin at the same time", function()
    local started = {}
    for i = 1, CREATORS do
      started[i] = support.process.start({ "enqueue", "noop", "-u", server.url })
    end
    for _, one in ipairs(started) do
      one:ends(0, 30)
    end
    local client = server:client()
    assert.equal(CREATORS, client:queue("default"):stats().pending)
    assert.same({}, assert(client:ensure_layout()).created)
    client:close()
    -- It has to be the server of the beginning: one that ended would have taken its port along.
    assert.is_nil(server:log():find("panic", 1, true))
  end)

  it("says whose subjects are taken by a stream that is not its own", function()
    local conn = server:connect()
    local answer = conn:request(
      "$JS.API.STREAM.CREATE.foreign",
      '{"name":"foreign","subjects":["naq.d.>"],"storage":"memory","retention":"limits"}',
      5
    )
    assert.is_nil(answer:find('"error"', 1, true))
    local layout, message, code = conn:ensure_layout({})
    assert.is_nil(layout)
    assert.matches("creating stream naq_delayed: subjects overlap", message)
    assert.equal("CONFIGURATION", code)
    conn:close()
  end)
end)
