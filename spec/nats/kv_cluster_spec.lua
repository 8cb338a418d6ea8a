-- Buckets on a cluster of three servers: three replicas, reads through the leader, a server that dies.

local naq = require("naq")
local core = require("naq.core")
local cluster = require("spec.support.cluster")
local eventually = require("spec.support").eventually

describe("a bucket on three servers", function()
  local three, servers, conn, kv

  setup(function()
    three = cluster.start()
    servers = three.servers
    conn = assert(naq.connection({ servers = three.urls }))
    kv = eventually(function()
      local opened, message = conn:jetstream():kv("replicated")
      return opened, message
    end, 40, "the cluster to have a leader")
  end)

  teardown(function()
    conn:close()
    three:stop()
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
