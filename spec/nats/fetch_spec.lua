-- What a pull request may meet, from a server that is played: no JetStream is there, a program answers the
-- requests of each consumer as its name says.
local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

local PLAYED = [=[
local conn = assert(require("naq").connection())
local seen = {}
local function status(m, code, text) m:respond("", { Status = code, Description = text }) end
local answers = {
  leader = { function(m) status(m, "409", "Leadership Change") end, function(m) status(m, "408") end },
  silent = { function() end, function(m) status(m, "408", "Request Timeout") end },
  deleted = { function(m) status(m, "409", "Consumer Deleted") end },
  greedy = { function(m) status(m, "409", "Exceeded MaxRequestBatch of 2") end },
  bad = { function(m) status(m, "400", "Bad Request") end },
  beating = { function(m) status(m, "100", "Idle Heartbeat") status(m, "100") end },
  stale = { function(m) conn:publish(m.reply:gsub("%d+$", "0"), "", { Status = "409", Description = "Deleted" }) end },
}
assert(conn:subscribe("$JS.API.CONSUMER.MSG.NEXT.S.*", function(m)
  local name = m.subject:match("[^.]+$")
  seen[name] = (seen[name] or 0) + 1
  local answer = answers[name][seen[name]]
  if answer then answer(m) end
end))
assert(conn:subscribe("$JS.API.CONSUMER.INFO.S.*", function(m) m:respond('{"name":"it is there"}') end))
assert(conn:subscribe("seen", function(m) m:respond(tostring(seen[m.data] or 0)) end))
while true do assert(conn:dispatch(10)) end
]=]

describe("sub:fetch() of a consumer", function()
  local server, conn, js, folder, player
  setup(function()
    server = nats.start({ jetstream = false })
    conn = assert(naq.connection({ servers = server.url }))
    js = conn:jetstream()
    folder = assert(core.mkdtemp("naq-spec-fetch"))
    local f = assert(io.open(folder .. "/player.lua", "w"))
    f:write(PLAYED)
    f:close()
    player = assert(core.spawn({ "lua5.4", folder .. "/player.lua" }, {
      stdout = folder .. "/out",
      stderr = folder .. "/out",
      die_with_parent = true,
      env = {
        LUA_PATH = support.lua_path,
        LUA_CPATH = support.lua_cpath,
        LD_PRELOAD = support.preload,
        NAQ_NATS_URL = server.url,
      },
    }))
    eventually(function() return (conn:request("seen", "", 1)) end, 20, "the player")
  end)
  teardown(function()
    core.kill(player, "KILL")
    core.wait(player, 10)
    conn:close()
    server:stop()
    core.rmtree(folder)
  end)

  local function seen(consumer) return tonumber((assert(conn:request("seen", consumer, 5)))) end

  -- Not by pull_subscribe(), which would ask for the consumer.
  local function fetch(consumer, seconds)
    local sub = assert(require("naq.pull_subscription").open(js.connection, "S", consumer))
    local begin = core.mono()
    local list, why, code = sub:fetch(5, { seconds = seconds })
    local took = core.mono() - begin
    sub:close()
    return list, why, code, took
  end

  it("whose leader changes is asked again", function()
    local list, _, _, took = fetch("leader", 5)
    assert.same({}, list)
    assert.equal(2, seen("leader"))
    assert.is_true(took < 3)
  end)

  it("that falls silent is asked again after two heartbeats", function()
    local list, _, _, took = fetch("silent", 4.2)
    assert.same({}, list)
    assert.equal(2, seen("silent"))
    assert.is_true(took > 1.5 and took < 4, took)
  end)

  it("that is deleted meanwhile answers KEY_NOT_FOUND at once", function()
    local list, why, code, took = fetch("deleted", 5)
    assert.is_nil(list)
    assert.equal("KEY_NOT_FOUND", code)
    assert.matches("consumer deleted of stream S", why)
    assert.is_true(took < 3)
  end)

  it("that refuses says why", function()
    local list, why, code = fetch("greedy", 5)
    assert.is_nil(list)
    assert.equal("CONFIGURATION", code)
    assert.matches("MaxRequestBatch of 2", why)
    assert.equal("CONFIGURATION", select(3, fetch("bad", 5)))
  end)

  it("whose end never comes ends with its own time", function()
    for _, consumer in ipairs({ "beating", "stale" }) do
      local list, _, _, took = fetch(consumer, 0.5)
      assert.same({}, list)
      assert.is_true(took >= 0.4 and took < 3, took)
      assert.equal(1, seen(consumer)) -- what belongs to another request is no reason to ask again
    end
  end)
end)
