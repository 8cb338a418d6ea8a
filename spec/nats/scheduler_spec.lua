-- The scheduler that leads: what it releases and when, and what it does not.

local core = require("naq.core")
local jetstream_api = require("naq.jetstream_api")
local stall = require("spec.support.stall")
local support = require("spec.support")
local eventually, nats = support.eventually, support.nats

local BUCKET_SECONDS = 600

describe("a scheduler", function()
  local server, client, queue, scheduler
  before_each(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue("mail")
  end)
  after_each(function()
    if scheduler then scheduler:close() end
    scheduler = nil
    client:close()
    server:stop()
  end)

  local function start(options)
    local all = { connect = { servers = { server.url } } }
    for k, v in pairs(options or {}) do
      all[k] = v
    end
    scheduler = assert(core.scheduler(all))
    eventually(function() return scheduler:leads() end, 5, "it to lead")
  end

  local function put(due, id, priority)
    id = id or core.new_id()
    local payload = assert(core.payload("noop", { due = due }))
    assert(client.conn:put_delayed("naq", queue.name, priority or "normal", id, due, payload))
    return id
  end

  local function on_queue(id, priority)
    return client.conn:last_msg("naq_jobs", ("naq.q.%s.%s.%s"):format(queue.name, priority or "normal", id))
  end

  -- When the queue's stream stored it.
  local function released(id, seconds, priority)
    local info
    eventually(function()
      local data
      data, info = on_queue(id, priority)
      return data ~= nil
    end, seconds, "job " .. id .. " to be released")
    return info
  end

  local function left() return jetstream_api.call(client.conn, "STREAM.INFO", "naq_delayed").state.messages end

  it("releases a job at its time, under its Msg-Id, to its queue", function()
    start()
    local due = core.now() + 0.5
    local id = put(due, nil, "high")
    local info = released(id, 3, "high")
    assert.is_true(info.time >= due, "early")
    assert.is_true(info.time < due + 0.25, ("late by %.3f s"):format(info.time - due))
    assert.equal(id .. ":0", info.headers["Nats-Msg-Id"])
    eventually(function() return left() == 0 end, 3, "its message to be acked")
  end)

  it("releases what was due before it began, and says so in the payload", function()
    local late = put(core.now() - 30)
    local later = put(core.now() + 7.5)
    start()
    released(late, 3)
    local payload = core.decode((on_queue(late)))
    assert.is_true(payload.released_late)
    released(later, 10)
    assert.is_nil(core.decode((on_queue(later))).released_late)
  end)

  it("keeps the order of times, over thousands", function()
    start()
    local base, list = core.now() + 1.5, {}
    for i = 1, 3000 do
      list[i] = { "noop", nil, { due = base + (i * 7919 % 3000) / 3000 } }
    end
    local ids = assert(client.conn:enqueue_many(list, { prefix = "naq", queue = queue.name }, function(opts)
      return queue.name, "normal", nil, nil, opts.due
    end))
    eventually(function() return left() == 0 end, 10, "all to be released")
    local worst = 0
    for i = 1, #ids, 97 do
      local _, info = on_queue(ids[i])
      local lateness = info.time - list[i][3].due
      assert.is_true(lateness >= -0.001, "early")
      worst = math.max(worst, lateness)
    end
    assert.is_true(worst < 0.5, ("late by %.3f s"):format(worst))
  end)

  it("is in time while the server is busy with what was asked of the store", function()
    local proxy = stall.start(server.port, "STREAM.INFO.naq_delayed", 2.5)
    start({ connect = { servers = { proxy.url } }, stragglers = 1 })
    local base, due = core.now() + 1, {}
    for i = 1, 40 do
      local id = core.new_id()
      due[id] = base + i * 0.075
      put(due[id], id)
    end
    released(put(core.now() + 0.2), 5) -- what was put before is in the scheduler's memory by now
    proxy.arm()
    eventually(proxy.has_stalled, 3, "a look for stragglers")
    for id, at in pairs(due) do
      local lateness = released(id, 10).time - at
      assert.is_true(lateness < 1, ("late by %.3f s"):format(lateness))
    end
    proxy.stop()
  end)

  it("does not release what was cancelled, not even at the last moment", function()
    start()
    local near, far = put(core.now() + 1.5), put(core.now() + 2)
    local witness = put(core.now() + 3)
    released(put(core.now() + 0.2), 3) -- what was put before is in the scheduler's memory by now
    assert(client:job(near):cancel())
    local data, info = require("naq.lookup").delayed_message(client, far)
    assert.truthy(data)
    client.conn:publish("naq.w.withdrawn", far)
    assert(jetstream_api.call(client.conn, "STREAM.MSG.DELETE", "naq_delayed", { seq = info.seq }))
    released(witness, 6)
    assert.is_nil((on_queue(near)))
    assert.is_nil((on_queue(far)))
    eventually(function() return left() == 0 end, 3, "nothing to be left")
  end)

  describe("when the clock is set", function()
    local shifted
    before_each(function() shifted = 0 end)
    after_each(function() core.shift_clock(-shifted) end)

    local function shift(seconds)
      core.shift_clock(seconds)
      shifted = shifted + seconds
    end

    it("ahead releases what is due by it, once; back nothing again", function()
      start()
      local soon, later = put(core.now() + 1000), put(core.now() + 5000)
      local witness = put(core.now() + 0.1)
      released(witness, 3)
      assert.is_nil((on_queue(soon)))
      shift(1100)
      local info = released(soon, 10)
      assert.is_nil((on_queue(later)))
      assert(jetstream_api.call(client.conn, "STREAM.MSG.DELETE", "naq_jobs", { seq = info.seq }))
      shift(-1200)
      released(put(core.now() + 0.1), 10)
      shift(1300)
      released(put(core.now() + 0.1), 10)
      assert.is_nil((on_queue(soon)))
      assert.is_nil((on_queue(later)))
    end)

    it("years ahead goes on with today's jobs", function()
      start()
      local far = put(core.now() + 86400)
      shift(3 * 365 * 86400)
      released(put(core.now() + 0.1), 15)
      released(far, 15)
    end)

    it("closes buckets that are over, and remembers where to begin", function()
      start()
      released(put(core.now() + 0.1), 3)
      shift(3 * BUCKET_SECONDS)
      local now = math.floor(core.now() / BUCKET_SECONDS)
      eventually(function()
        local oldest = tonumber((client.conn:kv_get("naq_control", "scheduler.oldest")))
        return oldest and oldest >= now - 2, oldest
      end, 25, "the pointer to move on")
      released(put(core.now() + 0.1), 5)
    end)
  end)

  it("removes every other reader of the store, that of an earlier version too", function()
    local config = { durable_name = "mover", ack_policy = "explicit", max_deliver = -1 }
    local body = { stream_name = "naq_delayed", config = config }
    assert(jetstream_api.call(client.conn, "CONSUMER.DURABLE.CREATE", "naq_delayed.mover", body))
    start()
    released(put(core.now() + 0.1), 5)
    for _, name in ipairs(jetstream_api.call(client.conn, "CONSUMER.NAMES", "naq_delayed").consumers) do
      assert.matches("^b%d+_%d+_", name)
    end
  end)

  it("opens closed buckets again for stragglers, and where an earlier scheduler stopped long ago", function()
    local now = core.now()
    local function straggler(age)
      local bucket = math.floor((now - age) / BUCKET_SECONDS)
      local id, payload = core.new_id(), core.payload("noop")
      assert(client.conn:js_publish(("naq.d.%d.%s"):format(bucket, id), payload, id .. ":0", {
        headers = { ["Naq-Due"] = ("%d"):format(math.floor((now - age) * 1000)), ["Naq-To"] = queue.name .. ".normal" },
      }))
      return id
    end
    local old = straggler(30 * 86400)
    start({ stragglers = 1 })
    released(old, 5)
    released(straggler(3 * 86400), 5)
    released(straggler(4000), 5)
    eventually(function() return left() == 0 end, 5, "all to be acked")
  end)

  it("waits with a job whose earlier hop is still on its queue", function()
    local id = core.new_id()
    assert(client.conn:js_publish(("naq.q.%s.normal.%s"):format(queue.name, id), core.payload("noop"), id .. ":0"))
    local payload = core.payload("noop", nil, { hop = 1 })
    assert(client.conn:put_delayed("naq", queue.name, "normal", id, core.now(), payload, 1))
    start()
    released(put(core.now() + 0.5), 3) -- others are not held up
    local _, info = on_queue(id)
    assert.equal(id .. ":0", info.headers["Nats-Msg-Id"])
    assert(jetstream_api.call(client.conn, "STREAM.MSG.DELETE", "naq_jobs", { seq = info.seq }))
    eventually(function()
      local _, now = on_queue(id)
      return type(now) == "table" and now.headers["Nats-Msg-Id"] == id .. ":1"
    end, 3, "the later hop to be released")
    eventually(function() return left() == 0 end, 3, "it to be acked")
  end)

  it("leaves a job whose header names no queue, and goes on", function()
    start()
    local bucket = math.floor(core.now() / BUCKET_SECONDS)
    assert(client.conn:js_publish(("naq.d.%d.odd"):format(bucket), "{}", nil))
    released(put(core.now() + 0.2), 3)
    assert.equal(1, left())
  end)
end)
