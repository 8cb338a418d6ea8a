local support = require("spec.support")
local core = require("naq.core")
local nats = support.nats

local SUBJECT = "naq.q.%s.normal.%s"

local function stream_state(conn)
  local answer = assert(conn:request("$JS.API.STREAM.INFO.naq_jobs", "", 5))
  return core.decode(answer).state
end

local function entries(n, opts)
  local list = {}
  for i = 1, n do
    list[i] = { "noop", { i = i }, opts and opts(i) }
  end
  return list
end

-- What the stream holds: payloads by job id.
local function stored(conn, queue)
  local jobs, count = {}, 0
  local state = stream_state(conn)
  for seq = state.first_seq, state.last_seq do
    local body = core.encode({ seq = seq })
    local message = core.decode(assert(conn:request("$JS.API.STREAM.MSG.GET.naq_jobs", body, 5))).message
    local id = message and message.subject:match("^naq%.q%." .. queue .. "%.%w+%.(.+)$")
    if id then
      assert(jobs[id] == nil, "stored twice: " .. id)
      jobs[id], count = message, count + 1
    end
  end
  return jobs, count
end

describe("conn:js_publish()", function()
  local at = support.connected.laid_out()
  local conn, queue

  setup(function() conn = at:begin({ config = { "max_payload: 65536" } }) end)
  teardown(function() at:finish() end)
  before_each(function() queue = support.fresh_name() end)

  it("stores a message and gives its sequence", function()
    local first, duplicate = conn:js_publish(SUBJECT:format(queue, "a"), "{}", "a:0")
    assert.equal("number", type(first))
    assert.is_false(duplicate)
    local second = assert(conn:js_publish(SUBJECT:format(queue, "b"), "{}"))
    assert.equal(first + 1, second)
  end)

  it("tells that the Msg-Id was stored before", function()
    local subject = SUBJECT:format(queue, "a")
    local seq = assert(conn:js_publish(subject, "{}", queue .. ":0"))
    local again, duplicate = conn:js_publish(subject, "{}", queue .. ":0")
    assert.equal(seq, again)
    assert.is_true(duplicate)
  end)

  it("refuses a second message under the subject", function()
    local subject = SUBJECT:format(queue, "a")
    assert(conn:js_publish(subject, "{}", queue .. ":0"))
    local seq, message, code = conn:js_publish(subject, "{}", queue .. ":1")
    assert.is_nil(seq)
    assert.equal("DUPLICATE", code)
    assert.is_truthy(message:find(subject, 1, true))
  end)

  it("compares and sets", function()
    local subject = SUBJECT:format(queue, "a")
    assert(conn:js_publish(subject, "{}", nil, { expect_last_subject_seq = 0 }))
    local seq, _, code = conn:js_publish(subject, "{}", nil, { expect_last_subject_seq = 0 })
    assert.is_nil(seq)
    assert.equal("WRONG_REVISION", code)
  end)

  it("sends further headers", function()
    assert(conn:js_publish(SUBJECT:format(queue, "a"), "{}", "h:0", { headers = { ["Naq-Due"] = "12" } }))
    local jobs = stored(conn, queue)
    assert.is_string(jobs.a.hdrs)
  end)

  it("refuses what is larger than the server takes", function()
    local seq, message, code = conn:js_publish(SUBJECT:format(queue, "a"), ("x"):rep(70000))
    assert.is_nil(seq)
    assert.equal("TOO_LARGE", code)
    assert.is_truthy(message:find("70000 bytes are more than the server takes (65536)", 1, true))
  end)

  it("says at once that no stream takes the subject", function()
    local begun = core.mono()
    local seq, message, code = conn:js_publish("nobody.home", "{}")
    assert.is_nil(seq)
    assert.equal("CONFIGURATION", code)
    assert.equal("publish to nobody.home: no stream takes this subject", message)
    assert.is_true(core.mono() - begun < 2)
  end)

  it("raises on misuse", function()
    assert.has_error(function() conn:js_publish(SUBJECT:format(queue, "a"), {}) end)
    assert.has_error(function() conn:js_publish(SUBJECT:format(queue, "a"), "", nil, { headers = 1 }) end)
    assert.has_error(function() conn:js_publish(SUBJECT:format(queue, "a"), "", nil, { seconds = "x" }) end)
  end)

  it("says that the server has no JetStream", function()
    local plain = nats.start({ jetstream = false })
    local other = plain:connect()
    local seq, _, code = other:js_publish("naq.q.a.normal.b", "{}")
    assert.is_nil(seq)
    assert.equal("NO_JETSTREAM", code)
    other:close()
    plain:stop()
  end)

  it("says that the server forbids the subject", function()
    local strict = nats.start({
      config = {
        "authorization { users = [ { user: u, password: p,",
        'permissions: { publish: { deny: "naq.q.no.>" } } } ] }',
      },
      user = "u",
      password = "p",
    })
    local other = strict:connect()
    assert(other:ensure_layout({}))
    local seq, message, code = other:js_publish("naq.q.no.normal.b", "{}", nil, { seconds = 5 })
    assert.is_nil(seq)
    assert.equal("PERMISSION", code, message)
    other:close()
    strict:stop()
  end)
end)

describe("conn:js_publish() when the server fails", function()
  local at = support.connected.laid_out()
  local conn, server

  before_each(function() conn, server = at:begin() end)
  after_each(function() at:finish() end)

  it("waits for a server that comes back and stores once", function()
    local reap = server:kill_meanwhile(0, 0.3)
    reap()
    local seq, duplicate = conn:js_publish("naq.q.a.normal.b", "{}", "b:0")
    assert.equal(1, seq)
    assert.is_false(duplicate)
  end)

  it("gives up when the time is over, naming what is missing", function()
    server:kill()
    local begun = core.mono()
    local seq, message, code = conn:js_publish("naq.q.a.normal.b", "{}", "b:0", { seconds = 0.5 })
    assert.is_nil(seq)
    assert.equal("CONNECTION", code, message)
    assert.is_true(core.mono() - begun < 2)
  end)

  it("answers TIMEOUT for a mute server", function()
    server:freeze()
    local seq, message, code = conn:js_publish("naq.q.a.normal.b", "{}", "b:0", { seconds = 0.3 })
    server:thaw()
    assert.is_nil(seq)
    assert.equal("TIMEOUT", code, message)
  end)

  it("is not told apart from its own repeat", function()
    server:freeze()
    local finished = server:freeze_meanwhile(0, 1.5)
    local seq, duplicate = conn:js_publish("naq.q.a.normal.b", "{}", "b:0")
    finished()
    assert.equal(1, seq)
    assert.is_false(duplicate)
  end)
end)

describe("conn:enqueue_many()", function()
  local at = support.connected.laid_out()
  local conn, queue

  setup(function() conn = at:begin({ config = { "max_payload: 65536" } }) end)
  teardown(function() at:finish() end)
  before_each(function() queue = support.fresh_name() end)

  local function enqueue(list, prepare)
    return conn:enqueue_many(list, { prefix = "naq", queue = queue }, prepare)
  end

  it("stores every entry once, ids in order", function()
    local n = 10000 -- more than two windows
    local ids, errors = enqueue(entries(n))
    assert.same({}, errors)
    assert.equal(n, #ids)
    local body = core.encode({ subjects_filter = SUBJECT:format(queue, "*") })
    local answer = assert(conn:request("$JS.API.STREAM.INFO.naq_jobs", body, 5))
    local subjects = core.decode(answer).state.subjects
    for i = 1, n do
      assert.equal(1, subjects[SUBJECT:format(queue, ids[i])])
    end
  end)

  it("stores names, arguments and Msg-Ids as written", function()
    local ids = assert(enqueue({ { "resize", { path = "/a.png" } }, { "noop" } }))
    local jobs, count = stored(conn, queue)
    assert.equal(2, count)
    local payload = jobs[ids[1]].data
    assert.is_string(payload) -- base64
    assert.is_string(jobs[ids[1]].hdrs)
    local _, duplicate = conn:js_publish(SUBJECT:format(queue, ids[2]), "{}", ids[2] .. ":0")
    assert.is_true(duplicate)
  end)

  it("takes an empty list", function() assert.same({ {}, {} }, { enqueue({}) }) end)

  it("asks prepare for entries with options", function()
    local other = support.fresh_name()
    local function prepare(opts)
      if opts.refuse then return nil, "not this one", "QUEUE_FULL" end
      return other, opts.priority or "high", opts.id, opts.fields
    end
    local ids, errors = enqueue({
      { "a" },
      { "b", nil, { id = "mine" } },
      { "c", nil, { refuse = true } },
      { "d", nil, { priority = "low", fields = { max_retries = 1 } } },
      { "e", nil, { id = "not an id" } },
      { "f", nil, { priority = "urgent" } },
    }, prepare)
    assert.equal(26, #ids[1])
    assert.equal("mine", ids[2])
    assert.is_false(ids[3])
    assert.equal(26, #ids[4])
    assert.is_false(ids[5])
    assert.is_false(ids[6])
    assert.same({ message = "not this one", code = "QUEUE_FULL" }, errors[3])
    assert.equal("INVALID", errors[5].code)
    assert.equal("INVALID", errors[6].code)
    local jobs, count = stored(conn, other)
    assert.equal(2, count)
    assert.equal("naq.q." .. other .. ".high.mine", jobs.mine.subject)
    assert.equal("naq.q." .. other .. ".low." .. ids[4], jobs[ids[4]].subject)
  end)

  it("refuses single entries and stores the others", function()
    local function prepare(opts) return queue, "normal", opts.id end
    local same = { id = "same" .. queue }
    local ids, errors = enqueue({
      { "a", nil, same },
      { "b", { f = print } },
      { "c", ("x"):rep(70000) },
      { "d", nil, same },
      { "e" },
    }, prepare)
    assert.equal(same.id, ids[1])
    assert.same({ false, false, false }, { ids[2], ids[3], ids[4] })
    assert.equal(26, #ids[5])
    assert.equal("SERIALIZATION", errors[2].code)
    assert.is_truthy(errors[2].message:find("args.f", 1, true))
    assert.equal("TOO_LARGE", errors[3].code)
    assert.same({ message = "there is a job " .. same.id .. " already", code = "DUPLICATE" }, errors[4])
    local _, count = stored(conn, queue)
    assert.equal(2, count)
  end)

  it("raises on misuse before anything is sent", function()
    local before = stream_state(conn).last_seq
    assert.has_error(function() enqueue({ { "a" }, "b" }) end)
    assert.has_error(function() enqueue({ { "a" }, { 1 } }) end)
    assert.has_error(function() enqueue({ { "a" }, { "b", nil, {} } }) end)
    assert.equal(before, stream_state(conn).last_seq)
  end)

  it("passes on what prepare raises, with everything before it stored", function()
    local list = entries(500, function(i) return i == 500 and { bad = true } or nil end)
    local ok, message = pcall(enqueue, list, function() error("unknown option bad", 0) end)
    assert.is_false(ok)
    assert.equal("unknown option bad", message)
    local _, count = stored(conn, queue)
    assert.equal(499, count)
    assert(enqueue({ { "a" } })) -- the connection is as good as before
  end)

  it("answers CONFIGURATION at once where no stream is", function()
    local begun = core.mono()
    local ids, message, code = conn:enqueue_many(entries(5000), { prefix = "none", queue = queue })
    assert.is_nil(ids)
    assert.equal("CONFIGURATION", code)
    assert.is_truthy(message:find("no stream takes this subject", 1, true))
    assert.is_true(core.mono() - begun < 2)
  end)

  it("keeps its memory within the window", function()
    if support.preload then return end -- a sanitizer keeps what was freed
    local pad = ("x"):rep(2000)
    local list = {}
    for i = 1, 30000 do
      list[i] = { "noop", pad }
    end
    local function rss()
      local f = assert(io.open("/proc/self/status"))
      local kb = f:read("*a"):match("VmRSS:%s+(%d+)")
      f:close()
      return tonumber(kb)
    end
    local before = rss()
    assert(enqueue(list)) -- 60 MB of payloads
    assert.is_true(rss() - before < 45000, "grew by " .. (rss() - before) .. " kB")
  end)
end)

describe("conn:enqueue_many() when the server fails", function()
  local at = support.connected.laid_out()
  local conn, server

  before_each(function() conn, server = at:begin() end)
  after_each(function() at:finish() end)

  -- Each job stands on the stream under its own id: how many there are tells of losses and doubles.
  local function all_stored(ids, n)
    assert.equal(n, #ids)
    local seen = {}
    for i = 1, n do
      assert.is_string(ids[i])
      assert.is_nil(seen[ids[i]])
      seen[ids[i]] = true
    end
    support.eventually(function()
      local messages = stream_state(conn).messages
      return messages == n, messages
    end, 5, n .. " messages on the stream")
  end

  it("finishes after a freeze, each job stored once", function()
    local finished = server:freeze_meanwhile(0.1, 2.5)
    local n = 40000
    local ids, errors = conn:enqueue_many(entries(n), { queue = "default" })
    finished()
    assert.same({}, errors)
    all_stored(ids, n)
  end)

  it("finishes after a kill and a restart, each job stored once", function()
    local reap = server:kill_meanwhile(0.1, 0.3)
    local n = 40000
    local ids, errors = conn:enqueue_many(entries(n), { queue = "default" })
    reap()
    assert.same({}, errors)
    all_stored(ids, n)
  end)
end)
