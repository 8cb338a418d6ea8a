local support = require("spec.support")
local core = require("naq.core")
local nats = support.nats

describe("a job's record", function()
  local at = support.connected.laid_out()
  local conn, server

  setup(function() conn, server = at:begin() end)
  teardown(function() at:finish() end)

  local DONE = '{"state":"completed","result":1}'

  it("is found in whichever bucket it stands", function()
    for _, class in ipairs({ "1h", "1d", "7d", "30d", "forever" }) do
      local id, bucket = core.new_id(), "naq_results_" .. class
      local revision = assert(conn:kv_put(bucket, id, DONE))
      assert.same({ DONE, revision, bucket }, { conn:find_record("naq", id) })
    end
  end)

  it("is JOB_NOT_FOUND when there is none or it was deleted, EXPIRED when its time is over", function()
    local id = core.new_id()
    assert.equal("JOB_NOT_FOUND", select(3, conn:find_record("naq", id)))
    assert(conn:kv_put("naq_results_1d", id, '{"state":"completed","expires_at":1763697600.5}'))
    assert.equal("EXPIRED", select(3, conn:find_record("naq", id)))
    assert(conn:kv_put("naq_results_7d", id, DONE))
    assert.equal(DONE, (conn:find_record("naq", id)))
    assert(conn:kv_delete("naq_results_7d", id))
    assert.equal("JOB_NOT_FOUND", select(3, conn:find_record("naq", id)))
    assert.equal("INVALID", select(3, conn:find_record("naq", "a.b")))
  end)

  -- A second process that acts while this thread waits in the core.
  local function meanwhile(code, url)
    local program = ([[
      local core = require("naq.core")
      local conn = assert(core.connect({ servers = %q }))
      %s
      conn:close()
    ]]):format(url or server.url, code)
    local file = os.tmpname()
    local f = assert(io.open(file, "w"))
    f:write(program)
    f:close()
    local pid = assert(core.spawn({ "lua5.4", file }, {
      env = {
        LUA_PATH = support.lua_path,
        LUA_CPATH = support.lua_cpath,
        LD_PRELOAD = support.preload,
      },
    }))
    return function()
      local state, status = core.wait(pid, 20)
      os.remove(file)
      assert.same({ "exited", 0 }, { state, status })
    end
  end

  it("is waited for until it is terminal", function()
    local id = core.new_id()
    local finish = meanwhile(([[
      assert(conn:kv_put("naq_results_7d", %q, '{"state":"running"}'))
      core.sleep(0.05)
      assert(conn:kv_put("naq_results_7d", %q, '{"state":"failed"}'))
    ]]):format(id, id))
    local begin = core.mono()
    assert.equal('{"state":"failed"}', (conn:wait_record("naq", id, 20)))
    assert.is_true(core.mono() - begin < 4) -- woken, not found by the look each 5 s
    finish()
  end)

  it("that is never stored is told on the job's subject", function()
    local id = core.new_id()
    local finish = meanwhile(([[
      for _ = 1, 20 do
        conn:publish("naq.n.%s", '{"state":"completed"}')
        core.sleep(0.05)
      end
    ]]):format(id))
    local begin = core.mono()
    assert.equal('{"state":"completed"}', (conn:wait_record("naq", id, 20)))
    assert.is_true(core.mono() - begin < 4)
    finish()
  end)

  it("that was refused wakes nobody for long", function()
    local id = core.new_id()
    conn:publish("$KV.naq_results_7d." .. id, DONE, {
      ["Nats-Expected-Last-Subject-Sequence"] = "99",
    })
    local record, err, code = conn:wait_record("naq", id, 0.3)
    assert.is_nil(record)
    assert.equal("TIMEOUT", code)
    assert.truthy(err:find(id, 1, true))
  end)

  -- One who hears of no write to the bucket: as when the server delivers it before anybody listens, or
  -- before it is stored.
  describe("of which nobody was told", function()
    local quiet, deaf, speaker
    setup(function()
      quiet = nats.start({
        config = {
          'authorization { users = [ { user: "speaker", password: "s" }, { user: "deaf", password: "d",',
          '  permissions: { subscribe: { deny: ["$KV.naq_results_7d.one", "$KV.naq_results_7d.two"] } } } ] }',
        },
      })
      speaker = quiet.url:gsub("//", "//speaker:s@")
      deaf = quiet:connect({ user = "deaf", password = "d" })
      assert(deaf:ensure_layout())
    end)
    teardown(function()
      deaf:close()
      quiet:stop()
    end)

    it("is found all the same, soon", function()
      local id = "one"
      local finish = meanwhile(([[
        core.sleep(0.4)
        assert(conn:kv_put("naq_results_7d", %q, '{"state":"failed"}'))
      ]]):format(id), speaker)
      local begin = core.mono()
      assert.equal('{"state":"failed"}', (deaf:wait_record("naq", id, 20)))
      assert.is_true(core.mono() - begin < 4)
      finish()
    end)

    it("when it was stored long after it was heard of", function()
      local id = "two"
      local finish = meanwhile(([[
        core.sleep(0.2)
        conn:publish("$KV.elsewhere.%s", '{"state":"failed"}')
        core.sleep(0.4)
        assert(conn:kv_put("naq_results_7d", %q, '{"state":"failed"}'))
      ]]):format(id, id), speaker)
      local begin = core.mono()
      assert.equal('{"state":"failed"}', (deaf:wait_record("naq", id, 20)))
      assert.is_true(core.mono() - begin < 4)
      finish()
    end)
  end)

  it("there already is answered at once, even with no time left", function()
    local id = core.new_id()
    assert(conn:kv_put("naq_results_7d", id, DONE))
    assert.equal(DONE, (conn:wait_record("naq", id, 0)))
  end)
end)
