-- Buckets on a cluster of three servers: three replicas, reads through the leader, a server that dies.

local naq = require("naq")
local core = require("naq.core")
local support = require("spec.support")
local eventually, nats = support.eventually, support.nats

describe("a bucket on three servers", function()
  local servers, urls, conn, kv = {}, {}, nil, nil

  local function free_port()
    local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
    return assert(core.free_port(tonumber(low), tonumber(high)))
  end

  setup(function()
    local ports, routes = {}, {}
    for i = 1, 3 do
      repeat
        ports[i] = free_port()
      until ports[i] ~= ports[i - 1] and ports[i] ~= ports[i - 2]
      routes[i] = ("nats://127.0.0.1:%d"):format(ports[i])
    end
    for i = 1, 3 do
      local cluster = ('cluster { name: c, listen: "127.0.0.1:%d", routes: [%s] }'):format(
        ports[i],
        table.concat(routes, ", ")
      )
      servers[i] = nats.start({ name = "n" .. i, config = { cluster } })
      urls[i] = servers[i].url
    end
    conn = assert(naq.connection({ servers = urls }))
    kv = eventually(function()
      local opened, message = conn:jetstream():kv("replicated")
      return opened, message
    end, 40, "the cluster to have a leader")
  end)

  teardown(function()
    conn:close()
    for i = 1, 3 do
      servers[i]:stop()
    end
  end)

  it("has three replicas and asks the leader", function()
    assert.equal(3, assert(kv:status()).replicas)
    assert.is_false(kv.direct)
    for i = 1, 200 do
      local revision = assert(kv:put("k", tostring(i)))
      assert.same({ tostring(i), revision }, { kv:get("k") })
    end
  end)

  it("loses no write, and no event, when its leader is killed", function()
    local watcher = assert(kv:watch("n", { updates_only = true }))
    local info = assert(core.decode(assert(conn.core:request("$JS.API.STREAM.INFO.KV_replicated"))))
    local leader = tonumber(info.cluster.leader:match("%d"))
    local revision = assert(kv:put("n", "1"))
    servers[leader]:kill()
    for i = 2, 20 do
      revision = assert(kv:update("n", tostring(i), revision))
      assert.same({ tostring(i), revision }, { kv:get("n") })
    end
    local last
    repeat
      local event, message = watcher:next(30)
      last = event or error(message)
    until last.value == "20"
    assert.equal(revision, last.revision)
    watcher:stop()
    servers[leader]:restart()
  end)
end)
