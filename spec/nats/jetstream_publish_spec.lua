-- naq.JetStream: publishing, waiting for each ack or for all of them together.
local core = require("naq.core")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

describe("a stream's publisher", function()
  local at = support.connected.plain()
  local js, name
  setup(function()
    at:begin()
    js = at.js
  end)
  teardown(function() at:finish() end)
  before_each(function() name = support.fresh_name() end)

  local function stream(config) return at:stream(name, config) end

  describe("publishing", function()
    it("answers the sequence, and keeps bytes and headers", function()
      stream()
      local headers = { One = "1", Many = { "a", "b" } }
      assert.equal(1, (js:publish(name .. ".a", "x\0y\255", { headers = headers })))
      assert.equal(2, (js:publish(name .. ".a")))
      local m = assert(js:get_msg(name, 1))
      assert.equal("x\0y\255", m.data)
      assert.same(headers, m.headers)
      assert.equal(name .. ".a", m.subject)
      assert.is_true(math.abs(m.timestamp - core.now()) < 60)
      assert.equal("", assert(js:get_msg(name, 2)).data)
    end)

    it("stores a msg_id once", function()
      stream()
      local seq, duplicate = js:publish(name .. ".a", "x", { msg_id = "m1" })
      assert.same({ 1, false }, { seq, duplicate })
      seq, duplicate = js:publish(name .. ".a", "y", { msg_id = "m1" })
      assert.same({ 1, true }, { seq, duplicate })
    end)

    it("refuses what is not expected", function()
      stream()
      assert(js:publish(name .. ".a", "x", { msg_id = "m1", expect_last_seq = 0, expect_stream = name }))
      assert(js:publish(name .. ".a", "x", { expect_last_msg_id = "m1", expect_last_subject_seq = 1 }))
      assert(js:publish(name .. ".b", "x", { expect_last_subject_seq = 0, expect_last_seq = 2 }))
      for _, wrong in ipairs({
        { expect_last_seq = 2 },
        { expect_last_subject_seq = 1 },
        { expect_last_msg_id = "m1" },
      }) do
        assert.equal("WRONG_REVISION", select(3, js:publish(name .. ".a", "x", wrong)))
      end
      assert.equal("CONFIGURATION", select(3, js:publish(name .. ".a", "x", { expect_stream = "other" })))
      assert.equal(3, assert(js:stream_info(name)).state.messages)
    end)

    it("tells that no stream has the subject, that it is none, and misspelt options", function()
      local seq, why, code = js:publish("nobody." .. name, "x")
      assert.is_nil(seq)
      assert.equal("CONFIGURATION", code)
      assert.matches("nobody", why)
      assert.equal("INVALID", select(3, js:publish("a b", "x")))
      assert.equal("INVALID", select(3, js:publish("a", "x", { msg_id = "a\r\nb" })))
      assert.has_error(function() js:publish("a", "x", { msgid = "a" }) end)
      assert.has_error(function() js:publish("a", 7) end)
    end)

    it("without a msg_id is never sent twice", function()
      local own = nats.start()
      local mine = own:connection()
      local own_js = mine:jetstream()
      assert(own_js:add_stream("S", { subjects = { "s" } }))
      own:freeze()
      local begin = core.mono()
      local seq, why, code = own_js:publish("s", "x", { seconds = 2.5 })
      assert.is_nil(seq)
      assert.equal("TIMEOUT", code)
      assert.matches("may have been stored", why)
      assert.is_true(core.mono() - begin < 5)
      own:thaw()
      eventually(function() return own_js:stream_info("S") end, 10, "the server")
      assert.equal(1, assert(own_js:stream_info("S")).state.messages) -- sent once, and stored
      mine:close()
      own:stop()
    end)
  end)

  describe("publish_async()", function()
    it("stores many with their acks awaited together", function()
      stream()
      for i = 1, 5000 do
        assert.equal(i, (js:publish_async(name .. ".a", tostring(i))))
      end
      local stored, errors, duplicates = js:await(30)
      assert.equal(5000, stored)
      assert.same({}, errors)
      assert.equal(0, duplicates)
      assert.equal(5000, assert(js:stream_info(name)).state.messages)
      assert.same({ 0, {}, 0 }, { js:await() })
    end)

    it("tells what was refused by its number, and stores the rest", function()
      stream({ max_msg_size = 1000 })
      assert.equal(1, (js:publish_async(name .. ".a", "x", { msg_id = "1" })))
      js:publish_async("nobody." .. name, "x")
      js:publish_async(name .. ".a", ("x"):rep(2000))
      js:publish_async(name .. ".a", "y", { msg_id = "1" })
      js:publish_async(name .. ".b", "z", { headers = { H = { "1", "2" } } })
      js:publish_async("nobody." .. name, "again")
      local stored, errors, duplicates = js:await(10)
      assert.equal(3, stored)
      assert.equal(1, duplicates)
      assert.equal("CONFIGURATION", errors[2].code)
      assert.equal("TOO_LARGE", errors[3].code)
      assert.equal("CONFIGURATION", errors[6].code)
      assert.is_string(errors[2].message)
      assert.same({ H = { "1", "2" } }, assert(js:get_msg(name, name .. ".b")).headers)
    end)

    it("bounds what is in flight", function()
      stream()
      local other = at.conn:jetstream()
      assert.has_error(function() other:async_window({ max_in_flight = 0 }) end)
      assert(other:async_window({ max_in_flight = 2 }))
      for i = 1, 100 do
        assert(other:publish_async(name .. ".a", tostring(i)))
      end
      assert.equal(100, (other:await(10)))
      assert.has_error(function() other:async_window({ max_in_flight = 2 }) end)
    end)

    it("goes through a restart: stored once with a msg_id, told without one", function()
      local own = nats.start()
      local mine = own:connection()
      local own_js = mine:jetstream()
      assert(own_js:add_stream("S", { subjects = { "s.*" } }))
      own:freeze()
      for i = 1, 20 do
        assert(own_js:publish_async("s.a", "x", i % 2 == 0 and { msg_id = tostring(i) } or nil))
      end
      local stored, why, code = own_js:await(0.2)
      assert.is_nil(stored)
      assert.equal("TIMEOUT", code)
      assert.matches("20 of 20", why)
      own:kill()
      own:restart()
      local errors
      stored, errors = own_js:await(30)
      assert.is_true(stored >= 10)
      local refused = 0
      for number, e in pairs(errors) do
        assert.equal(1, number % 2)
        assert.equal("CONNECTION", e.code)
        refused = refused + 1
      end
      assert.equal(20, stored + refused)
      assert.is_true(assert(own_js:stream_info("S")).state.messages <= 20)
      mine:close()
      own:stop()
    end)
  end)
end)
