local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")

describe("a job's state and result", function()
  local server, client, queue
  setup(function()
    server = support.nats.start()
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
  end)
  teardown(function()
    client:close()
    server:stop()
  end)

  -- A job whose message is gone and whose record says this, as a worker leaves it.
  local function ended(record, bucket)
    local id = support.fresh_name()
    assert(client.conn:kv_put(bucket or "naq_results_7d", id, record))
    return assert(client:job(id))
  end

  local function delayed(id, payload, to)
    assert(client.conn:js_publish("naq.d.2900000." .. id, payload, id .. ":1", {
      headers = { ["Naq-Due"] = "1740000000500", ["Naq-To"] = to or "images.low" },
    }))
    return assert(client:job(id))
  end

  describe("status()", function()
    it("is pending on the queue, by handle and by id alone", function()
      local job = assert(queue:enqueue("noop"))
      assert.equal("pending", job:status())
      assert.equal("pending", client:job(job.id):status())
    end)

    it("is what the record says once it ended, in whatever bucket", function()
      for _, class in ipairs({ "1h", "1d", "7d", "30d", "forever" }) do
        assert.equal("completed", ended('{"state":"completed"}', "naq_results_" .. class):status())
      end
      assert.equal("failed", ended('{"state":"failed"}'):status())
      assert.equal("cancelled", ended('{"state":"cancelled"}'):status())
    end)

    it("is retry in the delayed store after a failed attempt, else scheduled", function()
      assert.equal("retry", delayed(support.fresh_name(), '{"job":"x","hop":1,"attempt":2}'):status())
      assert.equal("scheduled", delayed(support.fresh_name(), '{"job":"x","hop":1,"attempt":1}'):status())
      assert.equal("scheduled", delayed(support.fresh_name(), '{"job":"x"}'):status())
    end)

    -- Running is what a worker says: explain_spec.lua.
    it("is pending when a claim's worker is gone, and when it has a record and is silent", function()
      local job = assert(queue:enqueue("noop"))
      local worker = support.fresh_name()
      assert(client.conn:kv_put("naq_results_7d", job.id, ('{"state":"running","worker":"%s"}'):format(worker)))
      assert.equal("pending", job:status())
      assert(client.conn:kv_put(
        "naq_workers",
        worker,
        ('{"id":"%s","seen_at":%.3f,"heartbeat_interval":15}'):format(worker, core.now())
      ))
      assert.equal("pending", job:status())
      assert(client.conn:kv_delete("naq_workers", worker))
    end)

    it("is JOB_NOT_FOUND for an id that nobody has", function()
      local state, message, code = client:job("no-such-job"):status()
      assert.is_nil(state)
      assert.equal("job no-such-job: not found", message)
      assert.equal("JOB_NOT_FOUND", code)
    end)

    it("is JOB_NOT_FOUND on a server that naq has never seen", function()
      local fresh = support.nats.start()
      local first = fresh:client()
      assert.equal("JOB_NOT_FOUND", select(3, first:job("x"):status()))
      assert.equal("JOB_NOT_FOUND", select(3, first:job("x"):result()))
      assert.same({}, assert(first:workers()))
      first:close()
      fresh:stop()
    end)
  end)

  describe("client:job()", function()
    it("refuses what cannot be an id", function()
      local job, _, code = client:job("a b")
      assert.is_nil(job)
      assert.equal("INVALID", code)
      local ok, message = pcall(function() client:job(nil) end)
      assert.is_false(ok)
      assert.matches("results_spec.lua:%d+: a job's id must be a string", message)
    end)
  end)

  describe("result()", function()
    it("is the value, exactly", function()
      assert.same({ width = 640 }, ended('{"state":"completed","result":{"width":640}}'):result())
      assert.is_false(ended('{"state":"completed","result":false}'):result())
      assert.equal("", ended('{"state":"completed","result":""}'):result())
      if math.type then
        local big = ended('{"state":"completed","result":9007199254740993}'):result()
        assert.equal("integer", math.type(big))
        assert.equal("9007199254740993", tostring(big))
      end
    end)

    it("is naq.null when the job returned nothing, so that assert works", function()
      assert.equal(naq.null, assert(ended('{"state":"completed"}'):result()))
    end)

    it("is the job's own error when it failed", function()
      local job = ended('{"state":"failed","error":{"code":"BUSY","message":"db is busy"}}')
      local value, message, code = job:result()
      assert.is_nil(value)
      assert.equal("db is busy", message)
      assert.equal("JOB_FAILED", code)
    end)

    it("says so when the job was cancelled, has not ended or is unknown", function()
      assert.equal("JOB_CANCELLED", select(3, ended('{"state":"cancelled"}'):result()))
      assert.equal("NOT_FINISHED", select(3, assert(queue:enqueue("noop")):result()))
      assert.equal("NOT_FINISHED", select(3, delayed(support.fresh_name(), '{"job":"x"}'):result()))
      assert.equal("NOT_FINISHED", select(3, ended('{"state":"retry","hop":1}'):result()))
      assert.equal("JOB_NOT_FOUND", select(3, client:job("no-such-job"):result()))
    end)

    it("is EXPIRED once the record has outlived its time", function()
      local past = ended(('{"state":"completed","result":1,"expires_at":%.3f}'):format(core.now() - 1))
      assert.equal("EXPIRED", select(3, past:result()))
      assert.equal("EXPIRED", select(3, past:status()))
      local future = ended(('{"state":"completed","result":1,"expires_at":%.3f}'):format(core.now() + 60))
      assert.equal(1, future:result())
    end)
  end)

  describe("wait()", function()
    it("returns the state of a job that has ended", function()
      assert.equal("completed", ended('{"state":"completed"}'):wait(5))
      assert.equal("failed", ended('{"state":"failed"}'):wait())
    end)

    it("answers TIMEOUT when the time is over", function()
      local job = assert(queue:enqueue("noop"))
      local before = core.mono()
      local state, message, code = job:wait(0.05)
      assert.is_nil(state)
      assert.equal(("job %s: has not ended within 0.05 s"):format(job.id), message)
      assert.equal("TIMEOUT", code)
      assert.is_true(core.mono() - before < 2)
    end)

    it("raises for what is no time", function()
      local job = assert(queue:enqueue("noop"))
      for _, bad in ipairs({ "10", -1, 0 / 0 }) do
        local ok, message = pcall(function() job:wait(bad) end)
        assert.is_false(ok)
        assert.matches("results_spec.lua:%d+: job:wait%(%) takes a number of seconds", message)
      end
    end)
  end)

  describe("info()", function()
    it("tells what is known of a job on its queue", function()
      local job = assert(queue:enqueue("resize", { width = 640 }, { priority = "low", max_retries = 7 }))
      local info = assert(client:job(job.id):info())
      assert.is_number(info.enqueued_at)
      info.enqueued_at = nil
      assert.same({
        id = job.id,
        job = "resize",
        queue = queue.name,
        priority = "low",
        state = "pending",
        attempt = 1,
        max_retries = 7,
        args = { width = 640 },
      }, info)
    end)

    it("tells of a retry when it is due and how it failed", function()
      local info = assert(delayed(
        support.fresh_name(),
        '{"job":"x","hop":1,"attempt":2,"enqueued_at":1.5,'
          .. '"attempts":[{"attempt":1,"code":"BUSY","message":"busy","worker":"w"}]}'
      ):info())
      assert.equal("retry", info.state)
      assert.equal("images", info.queue)
      assert.equal("low", info.priority)
      assert.equal(1740000000.5, info.run_at)
      assert.equal(2, info.attempt)
      assert.equal(1.5, info.enqueued_at)
      assert.same({ code = "BUSY", message = "busy" }, info.error)
      assert.equal("w", info.attempts[1].worker)
    end)

    it("tells of an end what the record says", function()
      local job = ended(
        '{"state":"completed","job":"resize","queue":"images","priority":"normal","attempt":1,"max_retries":3,'
          .. '"hop":0,"enqueued_at":10.5,"started_at":11,"finished_at":12,"worker":"w","result":{"width":640}}'
      )
      assert.same({
        id = job.id,
        job = "resize",
        queue = "images",
        priority = "normal",
        state = "completed",
        attempt = 1,
        max_retries = 3,
        enqueued_at = 10.5,
        started_at = 11,
        finished_at = 12,
        worker = "w",
        result = { width = 640 },
      }, assert(job:info()))
    end)

    it("finds the args of a dead letter", function()
      local job = ended('{"state":"failed","job":"x","queue":"images","error":{"code":"E","message":"m"}}')
      assert(client.conn:js_publish(
        "naq.f.images." .. job.id,
        '{"v":1,"payload":{"job":"x","args":{"n":1}}}',
        job.id .. ":dead:0"
      ))
      local info = assert(job:info())
      assert.same({ n = 1 }, info.args)
      assert.same({ code = "E", message = "m" }, info.error)
    end)
  end)
end)
