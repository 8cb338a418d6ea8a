-- naq.JetStream: streams, stored messages, consumers. Publishing is in jetstream_publish_spec.lua.
local core = require("naq.core")
local support = require("spec.support")
local nats = support.nats

describe("JetStream", function()
  local at = support.connected.plain()
  local conn, server, js, name
  setup(function() conn, server, js = at:begin() end)
  teardown(function() at:finish() end)
  before_each(function() name = support.fresh_name() end)

  local function stream(config) return at:stream(name, config) end

  describe("ensure_stream()", function()
    it("creates with file storage and work-queue retention", function()
      local info, differs = js:ensure_stream(name, { subjects = { name }, max_age = 3600, duplicate_window = 1.5 })
      assert.equal("file", info.config.storage)
      assert.equal("workqueue", info.config.retention)
      assert.equal(3600, info.config.max_age)
      assert.equal(1.5, info.config.duplicate_window)
      assert.same({}, differs)
      assert.is_true(math.abs(info.created - core.now()) < 60)
      assert.is_nil(info.state.first_ts)
    end)

    it("leaves an existing one alone and tells how it differs", function()
      stream({ retention = "limits", storage = "memory", max_age = 60 })
      local wanted = { subjects = { name .. ".>" }, max_age = 3600, max_msgs = -1, retention = "limits" }
      local info, differs = js:ensure_stream(name, wanted)
      assert.same({ "max_age: is 60, wanted 3600", "storage: is memory, wanted file" }, differs)
      assert.equal(60, info.config.max_age)
      wanted.max_age, wanted.storage = 60, "memory"
      assert.same({}, select(2, js:ensure_stream(name, wanted)))
      wanted.subjects = { name .. ".a", name .. ".b" }
      assert.equal(1, #select(2, js:ensure_stream(name, wanted)))
    end)

    it("is for two at the same time", function()
      local other = server:connection()
      for _ = 1, 2 do
        assert(js:ensure_stream(name, { subjects = { name } }))
        assert(other:jetstream():ensure_stream(name, { subjects = { name } }))
      end
      other:close()
    end)
  end)

  describe("a stream", function()
    it("is changed where settings are given, and only there", function()
      stream({ max_age = 60, max_msgs = 10, description = "first" })
      local info = assert(js:update_stream(name, { max_age = 86400 * 400, description = "second" }))
      assert.equal(86400 * 400, info.config.max_age)
      assert.equal("second", info.config.description)
      assert.equal(10, info.config.max_msgs)
      assert.same({ name .. ".>" }, { info.config.subjects[1] })
      assert.equal("CONFIGURATION", select(3, js:update_stream(name, { storage = "memory" })))
      assert.equal("KEY_NOT_FOUND", select(3, js:update_stream("none", { max_age = 1 })))
    end)

    it("tells its subjects by a filter, page by page", function()
      stream()
      for i = 1, 30 do
        js:publish_async(("%s.%d"):format(name, i % 10), "x")
      end
      assert(js:await(10))
      local info = assert(js:stream_info(name, name .. ".>"))
      local n = 0
      for subject, messages in pairs(info.state.subjects) do
        assert.equal(3, messages, subject)
        n = n + 1
      end
      assert.equal(10, n)
      assert.equal(30, info.state.messages)
      assert.is_number(info.state.first_ts)
    end)

    it("is listed, also by its subject, beyond one page", function()
      local own = nats.start()
      local mine = own:connection()
      local own_js = mine:jetstream()
      assert.same({}, own_js:list_streams())
      for i = 1, 260 do -- a page has 256
        assert(own_js:add_stream("S" .. i, { subjects = { "s." .. i }, storage = "memory" }))
      end
      assert.equal(260, #assert(own_js:list_streams()))
      local one = assert(own_js:list_streams({ subject = "s.7" }))
      assert.equal(1, #one)
      assert.equal("S7", one[1].config.name)
      mine:close()
      own:stop()
    end)

    it("is purged whole, up to a sequence, but for the last, by subject", function()
      stream()
      local function fill()
        for i = 1, 10 do
          assert(js:publish(("%s.%d"):format(name, i % 2), "x"))
        end
      end
      fill()
      assert.equal(2, (js:purge_stream(name, { seq = 3 })))
      assert.equal(5, (js:purge_stream(name, { keep = 3 })))
      assert.equal(3, (js:purge_stream(name)))
      fill()
      assert.equal(5, (js:purge_stream(name, { filter = name .. ".1" })))
      assert.equal(5, assert(js:stream_info(name)).state.messages)
      assert.has_error(function() js:purge_stream(name, { seq = 1, keep = 1 }) end)
      assert.has_error(function() js:purge_stream(name, { subject = "x" }) end)
      assert.equal("KEY_NOT_FOUND", select(3, js:purge_stream("none")))
    end)

    it("is not purged where an old server's consumer would lose messages by it", function()
      stream()
      assert(js:add_consumer(name, { durable_name = "all" }))
      assert(js:add_consumer(name, { durable_name = "one", filter_subject = name .. ".1" }))
      assert(js:publish(name .. ".1", "x"))
      assert(js:publish(name .. ".2", "x"))
      local removed, why, code = js:purge_stream(name, { filter = name .. ".1" })
      if removed then -- fixed in 2.9.12
        assert.equal(1, removed)
      else
        assert.equal("UNSUPPORTED", code)
        assert.matches("consumer all", why)
        assert.matches("delete_msg", why)
        assert(js:delete_consumer(name, "all"))
        assert.equal(1, (js:purge_stream(name, { filter = name .. ".1" }))) -- exactly a filter
        assert.equal(1, (js:purge_stream(name, { filter = name .. ".>" })))
      end
    end)

    it("is deleted", function()
      stream()
      assert.is_true(js:delete_stream(name))
      local done, why, code = js:delete_stream(name)
      assert.is_nil(done)
      assert.equal("KEY_NOT_FOUND", code)
      assert.matches(name, why)
      assert.equal("KEY_NOT_FOUND", select(3, js:stream_info(name)))
    end)

    it("has a name and settings that make sense", function()
      for _, bad in ipairs({ "", "a b", "a.b", "a*", ">", "a/b", ("x"):rep(300) }) do
        assert.equal("INVALID", select(3, js:add_stream(bad)), bad)
        assert.equal("INVALID", select(3, js:stream_info(bad)))
        assert.equal("INVALID", select(3, js:delete_stream(bad)))
      end
      local ok, why = pcall(function() js:add_stream(name, { max_mesages = 1 }) end)
      assert.is_false(ok)
      assert.matches("unknown option 'max_mesages'", why, 1, true)
      assert.matches("jetstream_spec", why) -- at the caller's line
      assert.has_error(function() js:add_stream(name, { retention = "none" }) end)
      assert.has_error(function() js:add_stream(name, { max_age = -1 }) end)
      assert.has_error(function() js:add_stream(7) end)
      stream()
      assert.equal("CONFIGURATION", select(3, js:add_stream(name, { subjects = { "other." .. name } })))
    end)

    it("refuses settings that the server would drop without a word", function()
      local info = assert(conn:info())
      local major, minor = info.version:match("^(%d+)%.(%d+)")
      if tonumber(major) == 2 and tonumber(minor) < 10 then
        local _, why, code = js:add_stream(name, { metadata = { a = "b" } })
        assert.equal("UNSUPPORTED", code)
        assert.matches("2.10.0", why, 1, true)
        assert.equal("KEY_NOT_FOUND", select(3, js:stream_info(name)))
      else
        local settings = {
          subjects = { name .. ".>" },
          retention = "limits",
          metadata = { a = "b" },
          compression = "s2",
          first_seq = 7,
        }
        assert.same({ a = "b" }, assert(js:add_stream(name, settings)).config.metadata)
        assert.same({}, select(2, js:ensure_stream(name, settings)))
        assert.equal(7, js:publish(name .. ".a", "1"))
        assert(js:add_consumer(name, { durable_name = "two", filter_subjects = { name .. ".a", name .. ".c" } }))
        assert(js:publish(name .. ".b", "2"))
        assert(js:publish(name .. ".c", "3"))
        local _, why, code = js:pull_subscribe(name .. ".>", { stream = name, durable = "two" })
        assert.equal("CONFIGURATION", code)
        assert.matches("reads several subjects", why, 1, true)
        local sub = assert(js:pull_subscribe(nil, { stream = name, durable = "two" }))
        assert.equal("1", assert(sub:next(5)).data)
        assert.equal("3", assert(sub:next(5)).data)
      end
    end)
  end)

  describe("a stored message", function()
    before_each(function()
      stream({ allow_direct = true })
      for i = 1, 6 do
        assert(js:publish(("%s.%d"):format(name, i % 2), "m" .. i, { headers = { N = { tostring(i), "x" } } }))
      end
    end)

    it("is read by sequence, as the last of a subject, or the next", function()
      for _, direct in ipairs({ false, true }) do
        local m = assert(js:get_msg(name, { seq = 2, direct = direct }))
        assert.same({ "m2", name .. ".0", 2, name }, { m.data, m.subject, m.seq, m.stream })
        assert.same({ N = { "2", "x" } }, m.headers)
        assert.is_true(math.abs(m.timestamp - core.now()) < 60)
        assert.equal("m5", assert(js:get_msg(name, { last_by_subject = name .. ".1", direct = direct })).data)
        m = assert(js:get_msg(name, { next_by_subject = name .. ".0", seq = 3, direct = direct }))
        assert.equal("m4", m.data)
        assert.equal("KEY_NOT_FOUND", select(3, js:get_msg(name, { seq = 99, direct = direct })))
      end
      assert.equal("m6", assert(js:get_msg(name, 6)).data)
      assert.equal("m6", assert(js:get_msg(name, name .. ".0")).data)
      assert.equal("KEY_NOT_FOUND", select(3, js:get_msg(name, name .. ".none")))
      assert.equal("KEY_NOT_FOUND", select(3, js:get_msg("none", 1)))
      assert.equal("KEY_NOT_FOUND", select(3, js:get_msg("none", { seq = 1, direct = true })))
      assert(js:update_stream(name, { allow_direct = false }))
      assert.equal("UNSUPPORTED", select(3, js:get_msg(name, { seq = 1, direct = true })))
      assert.has_error(function() js:get_msg(name) end)
      assert.has_error(function() js:get_msg(name, { seq = 1, last_by_subject = "a" }) end)
    end)

    it("is deleted by its sequence", function()
      assert.is_true(js:delete_msg(name, 2))
      assert.is_true(js:delete_msg(name, 3, { erase = true }))
      assert.equal("KEY_NOT_FOUND", select(3, js:get_msg(name, 2)))
      assert.equal("KEY_NOT_FOUND", select(3, js:delete_msg(name, 2)))
      assert.equal("KEY_NOT_FOUND", select(3, js:delete_msg(name, 99)))
      assert.has_error(function() js:delete_msg(name, "x") end)
    end)
  end)

  describe("a consumer", function()
    it("is made, looked at, listed and deleted, its times in seconds", function()
      stream()
      assert(js:publish(name .. ".a", "x"))
      local info = assert(js:add_consumer(name, {
        durable_name = "d",
        ack_wait = 2.5,
        backoff = { 0.5, 2 },
        max_deliver = 3,
        filter_subject = name .. ".a",
        deliver_policy = "by_start_time",
        opt_start_time = core.now() - 3600,
      }))
      assert.equal("d", info.name)
      assert.equal("explicit", info.config.ack_policy)
      assert.same({ 0.5, 2 }, { info.config.backoff[1], info.config.backoff[2] })
      assert.is_true(math.abs(info.config.opt_start_time - (core.now() - 3600)) < 60)
      assert.equal(1, info.num_pending)
      local plain = assert(js:add_consumer(name, { inactive_threshold = 30 }))
      local named = assert(js:add_consumer(name, { name = "n", filter_subject = name .. ".a" }))
      assert.equal("n", named.name)
      assert.equal(3, #assert(js:list_consumers(name)))
      assert.equal(30, assert(js:consumer_info(name, plain.name)).config.inactive_threshold)
      assert.is_true(js:delete_consumer(name, "d"))
      assert.equal("KEY_NOT_FOUND", select(3, js:delete_consumer(name, "d")))
      assert.equal("KEY_NOT_FOUND", select(3, js:consumer_info(name, "d")))
      assert.equal("KEY_NOT_FOUND", select(3, js:list_consumers("none")))
      assert.equal("KEY_NOT_FOUND", select(3, js:add_consumer("none", { durable_name = "d" })))
      assert.equal("INVALID", select(3, js:add_consumer(name, { durable_name = "a.b" })))
      assert.has_error(function() js:add_consumer(name, { durable = "d" }) end)
    end)
  end)

  it("of a closed connection raises", function()
    local mine = server:connection()
    local own = mine:jetstream()
    own:publish_async("nobody", "x")
    mine:close()
    for _, method in ipairs({ "publish", "publish_async", "stream_info", "delete_stream", "pull_subscribe" }) do
      local ok, why = pcall(own[method], own, "a", "b")
      assert.is_false(ok)
      assert.matches("closed", why)
    end
    assert.has_error(function() own:await() end)
    assert.has_error(function() mine:jetstream() end)
  end)
end)

describe("an account without JetStream", function()
  it("answers NO_JETSTREAM", function()
    local server = nats.start({ jetstream = false })
    local conn = server:connection()
    local js = conn:jetstream()
    assert.equal("NO_JETSTREAM", select(3, js:add_stream("S")))
    assert.equal("NO_JETSTREAM", select(3, js:publish("s", "x", { seconds = 3 })))
    assert.equal("NO_JETSTREAM", select(3, js:pull_subscribe("s", "d")))
    conn:close()
    server:stop()
  end)
end)
