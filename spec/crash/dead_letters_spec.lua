-- Between a dead letter and the record that says "failed" a worker can die, freeze, or come too late: a letter
-- of a job that did not fail does not stay. Each case is held at that very point.

local support = require("spec.support")
local holder = require("spec.support.holder")
local jetstream_api = require("naq.jetstream_api")
local eventually, trail = support.eventually, support.trail

local LETTER, RECORD = "HPUB naq.f.", "HPUB $KV.naq_results_"

describe("a dead letter", function()
  local at = support.scene()
  local client, queue, side, server, proxy
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function()
    if proxy then proxy.stop() end
    proxy = nil
    at:finish()
  end)

  local function start(options)
    options = options or {}
    options.env = { NAQ_DEFAULT_ACK_WAIT = "1", NAQ_WORKER_HEARTBEAT_INTERVAL = "1" }
    return at:worker(options)
  end

  -- A worker that is held where it sends that word, and a job of it that fails at once.
  local function held(word, name)
    proxy = holder.start(server.port, word)
    local worker = start({ url = proxy.url, name = "held" })
    local job = assert(queue:enqueue(name or "hold_and_fail", side:args(), { max_retries = 0 }))
    if not name then side:open() end
    proxy.holds()
    return worker, job
  end

  local function kill(worker)
    worker:kill()
    worker:wait()
  end

  local function until_stored(job)
    return eventually(function() return trail.letters(client)[job.id] end, 10, "the letter to be stored")
  end

  local function until_none_is_left()
    eventually(function()
      local queued, letters = trail.messages(client, "naq_jobs"), trail.messages(client, "naq_failed")
      return queued == 0 and letters == 0, ("%d queued, %d letters"):format(queued, letters)
    end, 20, "neither message nor letter to be left")
  end

  -- Somebody who cancels and dies once that is decided, before he has looked after the rest.
  local function cancel_and_die(job)
    assert(client.conn:kv_create("naq_results_7d", job.id, '{"state":"cancelled","hop":0}'))
  end

  it("that is stored behind a cancel is taken back by its worker", function()
    local _, job = held(LETTER)
    assert.is_true(job:cancel())
    proxy.pass()
    until_none_is_left()
    local info = assert(jetstream_api.call(client.conn, "STREAM.INFO", "naq_failed"))
    assert.equal(1, info.state.last_seq) -- there was one
    assert.equal("cancelled", job:status())
  end)

  it("that is stored behind a cancel is taken back by another when its worker dies", function()
    local worker, job = held(LETTER)
    assert.is_true(job:cancel())
    proxy.pass_one()
    until_stored(job)
    kill(worker)
    start()
    until_none_is_left()
    assert.equal("cancelled", job:status())
    assert.equal(1, #side:runs()[job.id])
  end)

  it("is taken back when its record is refused, and who cancelled died", function()
    local _, job = held(RECORD)
    until_stored(job)
    cancel_and_die(job)
    proxy.pass()
    until_none_is_left()
    assert.equal(1, #side:runs()[job.id])
  end)

  it("is taken back when who cancelled and its worker died", function()
    local worker, job = held(RECORD)
    until_stored(job)
    cancel_and_die(job)
    kill(worker)
    start()
    until_none_is_left()
    assert.equal(1, #side:runs()[job.id])
  end)

  it("that a cancel has taken back does not return with a killed server", function()
    -- 2.9.10 remembers the deletion of the first one.
    assert(client.conn:js_publish("naq.f.other.first", "{}", "first:dead:0"))
    local _, job = held(RECORD)
    until_stored(job)
    assert.is_true(job:cancel())
    assert.is_nil(trail.letters(client)[job.id])
    server:kill()
    proxy.pass()
    server:restart()
    eventually(function() return client.conn:rtt(1) end, 20, "the server to be there")
    assert.is_nil(trail.letters(client)[job.id])
    assert.equal(1, trail.messages(client, "naq_failed"))
    assert.equal("cancelled", job:status())
    eventually(function() return trail.messages(client, "naq_jobs") == 0 end, 20, "the queue to be empty")
  end)

  it("goes when its worker died and the next run completes", function()
    local worker, job = held(RECORD, "fail_before_the_gate")
    until_stored(job)
    kill(worker)
    side:open()
    start()
    assert.equal("completed", job:wait(20))
    assert.same({}, trail.letters(client))
    until_none_is_left()
  end)

  it("is the one of the run that its record tells of, when its worker died", function()
    local worker, job = held(RECORD)
    local before = until_stored(job)
    kill(worker)
    start({ name = "second" })
    assert.equal("failed", job:wait(20))
    local letter, info = trail.letters(client)[job.id], assert(job:info())
    assert.matches("^held%-", before.attempts[1].worker)
    assert.matches("^second%-", letter.attempts[1].worker)
    assert.equal(info.worker, letter.attempts[1].worker)
    assert.equal(1, trail.messages(client, "naq_failed"))
  end)

  it("that a frozen worker adds when another has completed the job is taken back", function()
    local worker, job = held(LETTER, "fail_before_the_gate")
    worker:freeze()
    side:open()
    start()
    assert.equal("completed", job:wait(20))
    worker:thaw()
    proxy.pass()
    eventually(function()
      return jetstream_api.call(client.conn, "STREAM.INFO", "naq_failed").state.last_seq == 1
    end, 10, "the frozen worker's letter")
    until_none_is_left()
    assert.equal("completed", job:status())
  end)
end)
