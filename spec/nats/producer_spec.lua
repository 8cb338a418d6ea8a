-- Any NATS client is a producer: payloads made by hand, good ones and all kinds of bad ones.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local unpack = table.unpack or unpack -- luacheck: ignore 113 143

local MARKS = support.root .. "/spec/crash/jobs/marks.lua"

-- Lua 5.1 writes no \x escapes of its own.
local function bytes(...) return string.char(...) end

describe("a payload published by hand", function()
  local server, client, queue, side, worker
  setup(function()
    server = nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    side = trail.new()
    worker = support.start_worker({
      url = server.url,
      queues = { queue.name },
      jobs = { MARKS },
      threads = 2,
      env = { NAQ_DEFAULT_ACK_WAIT = "2" },
    })
  end)
  teardown(function()
    worker:stop()
    client:close()
    server:stop()
    side:remove()
  end)

  local function publish(payload, id, priority)
    id = id or support.fresh_name()
    assert(client.conn:publish(("naq.q.%s.%s.%s"):format(queue.name, priority or "normal", id), payload))
    return id
  end

  -- After whatever was done: the worker lives and runs the next job, and nothing is left on the queue.
  local function still_serving()
    local job = assert(queue:enqueue("mark", side:args({ n = 7 })))
    assert.equal("completed", job:wait(10))
    assert.equal(7, job:result())
    eventually(function() return trail.messages(client, "naq_jobs") == 0 end, 5, "the queue to be empty")
    assert.equal("running", (worker:wait(0)))
  end

  local function letter_of(id)
    return eventually(function() return trail.letters(client, id)[id] end, 10, "the dead letter of " .. id)
  end

  it("runs when it names a job, and nothing more", function()
    local args = core.encode(side:args({ n = 42 }))
    local id = publish(('{"job":"mark","args":%s}'):format(args))
    local job = assert(client:job(id))
    assert.equal("completed", job:wait(10))
    assert.equal(42, job:result())
  end)

  it("runs at each priority", function()
    for _, priority in ipairs({ "high", "normal", "low" }) do
      local payload = core.payload("mark", side:args({ n = priority }))
      local job = assert(client:job(publish(payload, nil, priority)))
      assert.equal("completed", job:wait(10))
      assert.equal(priority, job:info().priority)
    end
  end)

  local deep = ("["):rep(200) .. ("]"):rep(200)
  local UNDECODABLE = {
    { "that is not JSON", "resize /a.png", "" },
    { "that is empty", "", "" },
    { "that is cut off", '{"job":"mark","args":{"n":1', "" },
    { "with something behind it", '{"job":"mark"} {"job":"mark"}', "" },
    { "that is an array", '["mark"]', "object" },
    { "that is a string", '"mark"', "object" },
    { "without a job", '{"v":1,"args":{}}', "no job" },
    { "whose job is no string", '{"job":7}', "job must be a string" },
    { "whose job is empty", '{"job":""}', "job must be a name" },
    { "of an unknown version", '{"v":2,"job":"mark"}', "v: only version 1" },
    { "with invalid UTF-8", '{"job":"mark","args":"' .. bytes(0xC3, 0x28) .. '"}', "UTF%-8" },
    { "with a zero byte", '{"job":"mark",' .. bytes(0) .. '"args":1}', "" },
    { "that is nested too deep", '{"job":"mark","args":' .. deep .. "}", "deep" },
    { "with an attempt that is none", '{"job":"mark","attempt":0}', "attempt" },
  }

  for _, case in ipairs(UNDECODABLE) do
    local title, payload, reason = case[1], case[2], case[3]
    it("becomes a dead letter at once: one " .. title, function()
      local id = publish(payload)
      local letter = letter_of(id)
      assert.equal("undecodable", letter.reason)
      assert.equal("UNDECODABLE", letter.error.code)
      assert.is_true(#letter.error.message > 10)
      assert.matches(reason, letter.error.message)
      assert.equal(queue.name, letter.queue)
      assert.equal(1, #letter.attempts)

      local job = assert(client:job(id))
      assert.equal("failed", job:wait(5))
      assert.equal("undecodable", assert(core.decode((assert(client.conn:find_record("naq", id))))).reason)
      still_serving()
    end)
  end

  it("becomes a dead letter at once: one with an integer of 70 bits, kept as it is", function()
    local sent = '{"job":"mark","args":{"n":590295810358705651712}}'
    local id = publish(sent)
    assert.is_string(letter_of(id))
    assert.matches('"payload":' .. sent, letter_of(id), 1, true)
    assert.matches('"reason":"undecodable"', letter_of(id), 1, true)
    assert.matches("does not fit 64 bits", letter_of(id), 1, true)
    assert.equal("failed", assert(client:job(id)):wait(5))
    still_serving()
  end)

  it("is kept whole in its dead letter", function()
    local good_json = '{"v":9,"job":"mark","args":[1,2.50,"\\u00e9",18446744073709551615],"extra":{}}'
    local id = publish(good_json)
    letter_of(id)
    local text = assert(client.conn:last_msg("naq_failed", ("naq.f.%s.%s"):format(queue.name, id)))
    assert.matches('"payload":' .. good_json, text, 1, true)

    local junk = {}
    for i = 0, 255 do
      junk[#junk + 1] = string.char(i)
    end
    for cut = 254, 256 do
      local sent = table.concat(junk, "", 1, cut)
      local letter = letter_of(publish(sent))
      assert.is_nil(letter.payload)
      local p = assert(io.popen(("printf '%%s' '%s' | base64 -d"):format(letter.payload_base64), "r"))
      assert.equal(sent, p:read("*a"))
      p:close()
    end
  end)

  it("becomes a dead letter at once under an id that is none", function()
    for _, id in ipairs({ "a:b", "sp@ce", ("x"):rep(65), "ü" }) do
      local before = trail.messages(client, "naq_failed")
      publish(core.payload("mark", side:args()), id)
      eventually(function() return trail.messages(client, "naq_failed") == before + 1 end, 10, "its dead letter")
    end
    local found = 0
    for key, letter in pairs(trail.letters(client)) do
      if key:match("^bad%-id%-") then
        found = found + 1
        assert.equal("undecodable", letter.reason)
        assert.matches("is not 1 to 64 of", letter.error.message, 1, true)
        assert.equal("mark", letter.payload.job)
      end
    end
    assert.equal(4, found)
    still_serving()
  end)

  it("is a dead letter after its retries when nobody knows the job", function()
    local id = publish('{"job":"nobody_knows","args":[1],"max_retries":2,"retry_delay":0.05,"x":{"kept":1}}')
    local letter = letter_of(id)
    assert.equal("unknown_job", letter.reason)
    assert.equal("UNKNOWN_JOB", letter.error.code)
    assert.matches('"nobody_knows"', letter.error.message, 1, true)
    assert.equal(3, #letter.attempts)
    assert.same({ kept = 1 }, letter.payload.x)
    assert.same({ 1 }, letter.payload.args)
    assert.equal("failed", assert(client:job(id)):wait(5))
    still_serving()
  end)

  it("runs although its policy is nonsense, which the log names", function()
    local id = publish('{"job":"fail_first","args":' .. core.encode(side:args())
      .. ',"retry_delay":-1,"max_retries":1,"retry_strategy":"never","result_ttl":"long"}')
    local job = assert(client:job(id))
    local state = job:wait(10)
    assert.is_truthy(state == "completed" or state == "failed")
    still_serving()
  end)

  it("with nonsense for max_retries and result_ttl is treated as if they were absent", function()
    local id = publish('{"job":"hold_and_fail","max_retries":"lots","result_ttl":"long","retry_delay":0,"args":'
      .. core.encode(side:args()) .. "}")
    side:open()
    local letter = letter_of(id)
    assert.equal(4, #letter.attempts)
    eventually(function() return client:job(id):status() == "failed" end, 5, "its record")
    assert.equal(3, client:job(id):info().max_retries)
    id = publish(('{"job":"mark","max_retries":1e300,"result_ttl":-1,"args":%s}'):format(core.encode(side:args())))
    assert.equal("completed", client:job(id):wait(10))
    assert.equal(9007199254740992, client:job(id):info().max_retries)
    still_serving()
  end)

  it("can be looked at with every command, whatever it says", function()
    local idle = support.fresh_name()
    local attempts = '[1,"x",null,{"started_at":"x","message":[1],"code":{},"worker":{},"finished_at":1e300}]'
    local payloads = {
      '{"job":5,"attempt":"x","attempts":5,"enqueued_at":"soon","max_retries":"y","attempts_cut":"z"}',
      ('{"job":"a","attempts":%s,"attempt":1e300,"max_retries":1e300,"enqueued_at":1e300}'):format(attempts),
      '{"job":"a","attempt":2.5,"enqueued_at":-1,"attempts":{"a":1}}',
      '{"job":"\\u001b[2Ja\\nb","attempt":2,"attempts":[{"code":"\\u0007","message":"\\u001bc"}]}',
      "[1,2]",
      "no JSON",
    }
    local function fine(...)
      local status, out, errors = support.naq("-u", server.url, ...)
      assert.same({ 0, "" }, { status, errors })
      assert.is_nil(out:find("[\7\27]")) -- nothing that steers a terminal
      return out
    end
    for i, payload in ipairs(payloads) do
      local id = ("odd%d-%s"):format(i, idle)
      assert(client.conn:js_publish(("naq.q.%s.normal.%s"):format(idle, id), payload))
      fine("job", "show", id)
      local shown = assert(core.decode(fine("job", "show", id, "--json")))
      assert.same({ id, "pending" }, { shown.id, shown.state })
      assert.is_nil(shown.max_retries)
      fine("job", "explain", id)
      -- The same as a retry that waits.
      local due = ("%d"):format(math.floor(core.now() * 1000) + 3600000)
      local headers = { ["Naq-Due"] = i == 1 and "1e300" or due, ["Naq-To"] = idle .. ".normal" }
      local subject = ("naq.d.99999999.late%s"):format(id)
      assert(client.conn:js_publish(subject, payload, nil, { headers = headers }))
      fine("job", "show", "late" .. id)
      fine("job", "explain", "late" .. id)
    end
    for _, arguments in ipairs({ { "job", "list", "-q", idle }, { "queue", "peek", idle } }) do
      for _, form in ipairs({ "--json", "--log-level=warn" }) do
        local _, lines = fine(arguments[1], arguments[2], arguments[3], arguments[4] or form, form):gsub("odd", "")
        assert.is_true(lines >= #payloads)
      end
    end
    for i = 1, #payloads do
      assert.is_true(client:job(("odd%d-%s"):format(i, idle)):cancel())
      assert.is_true(client:job(("lateodd%d-%s"):format(i, idle)):cancel())
    end
  end)

  it("has a history that anybody may have made up", function()
    local id = publish('{"job":"hold_and_fail","max_retries":0,"attempts":[1,"x",null,{"code":[]}],"args":'
      .. core.encode(side:args()) .. "}")
    side:open()
    letter_of(id)
    eventually(function() return client:job(id):status() == "failed" end, 5, "its record")
    for _, command in ipairs({ { "job", "show" }, { "failed", "show" } }) do
      local status, out, errors = support.naq("-u", server.url, command[1], command[2], id)
      assert.same({ 0, "" }, { status, errors })
      assert.matches("Failed attempts", out)
    end
    assert.equal(2, #assert(client:failed():show(id)).attempts)
    local letter = '{"v":1,"error":5,"failed_at":"soon","attempts":[5],"reason":"failed","payload":{"job":"a"}}'
    assert(client.conn:js_publish(("naq.f.%s.made-up"):format(queue.name), letter))
    for _, command in ipairs({ { "list" }, { "list", "--since", "1h" }, { "show", "made-up" } }) do
      local status, out, errors = support.naq("-u", server.url, "failed", unpack(command))
      assert.same({ 0, "" }, { status, errors })
      assert.matches("made%-up", out)
    end
  end)

  it("does not bury a job that ended under the same id", function()
    local job = assert(queue:enqueue("mark", side:args({ n = 5 })))
    assert.equal("completed", job:wait(10))
    eventually(function() return trail.messages(client, "naq_jobs") == 0 end)
    publish("no JSON at all", job.id)
    still_serving()
    assert.equal("completed", job:status())
    assert.equal(5, job:result())
    assert.is_nil(trail.letters(client, job.id)[job.id])
  end)
end)
