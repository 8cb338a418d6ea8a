-- What the scheduler reads, when the server or the way to it loses requests and their ends.

local core = require("naq.core")
local support = require("spec.support")
local sieve = require("spec.support.sieve")
local eventually, nats = support.eventually, support.nats

-- Of the lease, and so of the requests.
local TTL = 1
local BUCKET_SECONDS = 600

describe("a scheduler whose pulls get lost", function()
  local server, client, between, scheduler
  before_each(function()
    server = nats.start()
    client = server:client({ scheduler = { lock_ttl = TTL } })
    assert(client:ensure_layout())
  end)
  after_each(function()
    if scheduler then scheduler:close() end
    if between then between.stop() end
    scheduler, between = nil, nil
    client:close()
    server:stop()
  end)

  local function start(from, pattern, most)
    between = sieve.start(server.port, from, pattern, most)
    scheduler = assert(core.scheduler({ connect = { servers = { between.url } }, lock_ttl = TTL }))
    eventually(function() return scheduler:leads() end, 5, "it to lead")
  end

  local function put(due)
    local id = core.new_id()
    assert(client.conn:put_delayed("naq", "mail", "normal", id, due, assert(core.payload("noop"))))
    return id
  end

  local function released(id, seconds)
    eventually(function()
      return (client.conn:last_msg("naq_jobs", "naq.q.mail.normal." .. id))
    end, seconds, "job " .. id .. " to be released")
  end

  it("reads on when the server does not say that a request is over", function()
    start("server", [[\r\nNATS/1\.0 408]])
    eventually(function() return between.kept() >= 3 end, 10, "ends of requests to be kept back")
    for _ = 1, 3 do
      released(put(core.now()), 3 * TTL + 1)
    end
  end)

  it("reads on when a request never arrives", function()
    local bucket = math.floor(core.now() / BUCKET_SECONDS)
    start("client", [[^PUB \$JS\.API\.CONSUMER\.MSG\.NEXT\.naq_delayed\.b\d+_]] .. bucket .. "_", 1)
    eventually(function() return between.kept() == 1 end, 5, "the request to be kept back")
    released(put(core.now()), 3 * TTL + 1)
  end)

  it("asks again for what it was told of when a request for it never arrives", function()
    local ids = {}
    for i = 1, 700 do
      ids[i] = put(core.now())
    end
    start("client", [[^PUB \$JS\.API\.CONSUMER\.MSG\.NEXT\.naq_delayed\.\S+ \S+ \d+\r\n\{"batch":700]], 1)
    eventually(function() return between.kept() == 1 end, 5, "the request to be kept back")
    released(ids[#ids], 3)
  end)
end)
