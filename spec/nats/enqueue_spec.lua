local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")

describe("enqueueing", function()
  local server, client
  setup(function()
    server = support.nats.start()
    client = server:client()
  end)
  teardown(function()
    client:close()
    server:stop()
  end)

  -- The message as the stream has it.
  local function message_of(job)
    local subject = ("naq.q.%s.%s.%s"):format(job.queue, job.priority, job.id)
    local data = assert(client.conn:last_msg("naq_jobs", subject))
    return core.decode(data), data
  end

  local function refusal(fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    return message
  end

  describe("queue:enqueue()", function()
    local queue
    before_each(function() queue = client:queue(support.fresh_name()) end)

    it("creates streams and buckets on a new server by itself", function()
      local fresh = support.nats.start()
      local first = fresh:client()
      local job = assert(first:queue("images"):enqueue("resize", { width = 640 }))
      assert.equal("pending", job:status())
      first:close()
      fresh:stop()
    end)

    it("puts a payload on the queue's subject that carries only what was given", function()
      local before = core.now()
      local job = assert(queue:enqueue("resize", { path = "/a.png", width = 640 }))
      assert.is_true(core.valid_id(job.id))
      assert.equal(26, #job.id)
      assert.equal(queue.name, job.queue)
      local payload = message_of(job)
      assert.is_true(payload.enqueued_at >= before - 0.001 and payload.enqueued_at <= core.now() + 0.001)
      payload.enqueued_at = nil
      assert.same({ v = 1, job = "resize", args = { path = "/a.png", width = 640 } }, payload)
    end)

    it("makes ids that sort by time", function()
      local before = assert(queue:enqueue("noop")).id
      core.sleep(0.002)
      assert.is_true(before < assert(queue:enqueue("noop")).id)
    end)

    it("carries policy, meta and trace, and chooses the priority", function()
      local trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      local job = assert(queue:enqueue("noop", nil, {
        priority = "high",
        max_retries = 0,
        retry_delay = { 1, 2.5 },
        retry_strategy = "linear",
        retry_on = {},
        ignore_on = { "GONE" },
        result_ttl = 0,
        meta = { tenant = "t1" },
        trace = trace,
      }))
      assert.equal("high", job.priority)
      local payload, text = message_of(job)
      assert.equal(0, payload.max_retries)
      assert.same({ 1, 2.5 }, payload.retry_delay)
      assert.equal("linear", payload.retry_strategy)
      assert.matches('"retry_on":[]', text, 1, true)
      assert.same({ "GONE" }, payload.ignore_on)
      assert.equal(0, payload.result_ttl)
      assert.same({ tenant = "t1" }, payload.meta)
      assert.equal(trace, payload.trace)
      assert.is_nil(payload.args)
      assert.is_nil(payload.priority)
    end)

    it("keeps args as they are: false, null, empty arrays, large integers", function()
      local job = assert(queue:enqueue("noop", { no = false, null = naq.null, none = naq.array({}), map = {} }))
      local _, text = message_of(job)
      for _, part in ipairs({ '"no":false', '"null":null', '"none":[]', '"map":{}' }) do
        assert.matches(part, text, 1, true)
      end
      local _, plain = message_of(assert(queue:enqueue("noop", false)))
      assert.matches('"args":false', plain, 1, true)
    end)

    it("takes a job for another queue where the option names one", function()
      local other = support.fresh_name()
      assert.equal(other, assert(queue:enqueue("noop", nil, { queue = other })).queue)
    end)

    it("says where a value stands that cannot be written", function()
      local job, message, code = queue:enqueue("noop", { items = { { price = 0 / 0 } } })
      assert.is_nil(job)
      assert.equal("SERIALIZATION", code)
      assert.matches("args.items[1].price", message, 1, true)
      assert.matches("^queue " .. queue.name .. ": ", message)
      assert.equal("SERIALIZATION", select(3, queue:enqueue("noop", print)))
    end)

    it("refuses a payload that the server would not take", function()
      local job, message, code = queue:enqueue("noop", { text = ("x"):rep(1100000) })
      assert.is_nil(job)
      assert.equal("TOO_LARGE", code)
      assert.is_string(message)
    end)

    it("answers UNSUPPORTED for options and calls of later versions", function()
      for name, value in pairs({
        unique = "k",
        depends_on = { "id" },
        on_parent_failure = "run",
        concurrency_key = "k",
      }) do
        local job, message, code = queue:enqueue("noop", nil, { [name] = value })
        assert.is_nil(job)
        assert.equal(("option '%s' is not supported by this version"):format(name), message)
        assert.equal("UNSUPPORTED", code)
      end
      local job = assert(queue:enqueue("noop"))
      assert.equal("UNSUPPORTED", select(3, job:logs()))
    end)

    it("raises at the caller's line for misuse", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local message = refusal(function() queue:enqueue("noop", nil, { prioritty = "high" }) end)
      assert.matches("enqueue_spec.lua:" .. line .. ": unknown option 'prioritty'", message)
      local here = "^[^:]*enqueue_spec.lua:%d+: "
      assert.matches(here .. "a job's name", refusal(function() queue:enqueue(nil) end))
      assert.matches(here .. "a job's name", refusal(function() queue:enqueue("") end))
      assert.matches(here .. "option 'priority'", refusal(function() queue:enqueue("x", 1, { priority = "top" }) end))
      assert.matches(here .. "option 'trace'", refusal(function() queue:enqueue("x", 1, { trace = "abc" }) end))
      assert.matches(here .. "option 'queue'", refusal(function() queue:enqueue("x", 1, { queue = "a b" }) end))
      assert.matches(here .. "option 'id'", refusal(function() queue:enqueue("x", 1, { id = 5 }) end))
    end)
  end)

  describe("a caller's own id", function()
    local queue
    before_each(function() queue = client:queue(support.fresh_name()) end)

    it("becomes the job's id", function()
      local id = support.fresh_name()
      local job = assert(queue:enqueue("noop", nil, { id = id }))
      assert.equal(id, job.id)
      assert.equal("noop", message_of(job).job)
    end)

    it("is refused with INVALID when it cannot be part of a subject", function()
      for _, id in ipairs({ "", "a.b", "a b", "*", ("x"):rep(65) }) do
        local job, _, code = queue:enqueue("noop", nil, { id = id })
        assert.is_nil(job)
        assert.equal("INVALID", code)
      end
    end)

    local function assert_duplicate(id, opts)
      opts = opts or {}
      opts.id = id
      local job, message, code = queue:enqueue("noop", nil, opts)
      assert.is_nil(job)
      assert.equal("DUPLICATE", code)
      assert.matches(("there is a job %s already"):format(id), message, 1, true)
    end

    it("is refused while a job with it is on any queue, under any priority", function()
      local id = support.fresh_name()
      assert(client:enqueue("noop", nil, { queue = support.fresh_name(), id = id, priority = "low" }))
      assert_duplicate(id)
      assert_duplicate(id, { priority = "high" })
    end)

    it("is refused while a job with it waits in the delayed store", function()
      local id = support.fresh_name()
      assert(client.conn:js_publish("naq.d.2900000." .. id, '{"job":"noop"}', id .. ":1", {
        headers = { ["Naq-Due"] = "1740000000000", ["Naq-To"] = "other.normal" },
      }))
      assert_duplicate(id)
    end)

    it("is refused while its record lives", function()
      local id = support.fresh_name()
      assert(client.conn:kv_put("naq_results_1h", id, '{"state":"completed","job":"noop"}'))
      assert_duplicate(id)
    end)
  end)

  describe("queue:enqueue_many()", function()
    local queue
    before_each(function() queue = client:queue(support.fresh_name()) end)

    it("puts a list on the queue and returns handles in order", function()
      local list = {}
      for i = 1, 2500 do
        list[i] = { "noop", { i = i } }
      end
      local jobs, errors = assert(queue:enqueue_many(list))
      assert.equal(2500, #jobs)
      assert.same({}, errors)
      assert.equal(1, message_of(jobs[1]).args.i)
      assert.equal(2500, message_of(jobs[2500]).args.i)
      assert.equal(2500, assert(queue:stats()).pending)
    end)

    it("creates the layout on a new server", function()
      local fresh = support.nats.start()
      local first = fresh:client()
      local jobs, errors = assert(first:queue("q"):enqueue_many({ { "noop" }, { "noop", 1 } }))
      assert.same({}, errors)
      assert.equal("pending", jobs[2]:status())
      first:close()
      fresh:stop()
    end)

    it("follows each entry's options", function()
      local other, id = support.fresh_name(), support.fresh_name()
      local shared = { priority = "low", max_retries = 0 }
      local jobs = assert(queue:enqueue_many({
        { "a", nil, shared },
        { "b", { 1 }, { queue = other, id = id, priority = "high" } },
        { "c", nil, shared },
      }))
      assert.equal("low", jobs[1].priority)
      assert.equal(0, message_of(jobs[3]).max_retries)
      assert.equal(id, jobs[2].id)
      assert.equal(other, jobs[2].queue)
      assert.equal("b", message_of(jobs[2]).job)
    end)

    it("refuses single entries and sends the others", function()
      local id = support.fresh_name()
      assert(queue:enqueue("noop", nil, { id = id }))
      local jobs, errors = assert(queue:enqueue_many({
        { "noop" },
        { "noop", { bad = print } },
        { "noop", nil, { id = id } },
        { "noop", nil, { unique = "k" } },
        { "noop", nil, { id = "a.b" } },
        { "noop" },
      }))
      local refused = {}
      for i = 1, 6 do
        refused[i] = jobs[i] == false and errors[i].code or "sent"
      end
      assert.same({ "sent", "SERIALIZATION", "DUPLICATE", "UNSUPPORTED", "INVALID", "sent" }, refused)
      assert.matches("bad", errors[2].message)
      assert.equal(3, assert(queue:stats()).pending)
    end)

    it("takes the same id once in one list", function()
      local id = support.fresh_name()
      local jobs, errors = assert(queue:enqueue_many({ { "a", nil, { id = id } }, { "b", nil, { id = id } } }))
      assert.equal(id, jobs[1].id)
      assert.is_false(jobs[2])
      assert.equal("DUPLICATE", errors[2].code)
    end)

    it("takes an empty list", function() assert.same({}, assert(queue:enqueue_many({}))) end)

    it("raises for misuse before anything is sent", function()
      local here = "^[^:]*enqueue_spec.lua:%d+: "
      local message = refusal(function() queue:enqueue_many({ { "noop" }, { "noop", nil, { dela = 5 } } }) end)
      assert.matches(here .. "unknown option 'dela'", message)
      message = refusal(function() queue:enqueue_many({ { "noop" }, { 5 } }) end)
      assert.matches(here .. "entry 2 must be { name, args, options }", message)
      assert.matches(here .. "enqueue_many takes a list", refusal(function() queue:enqueue_many("noop") end))
      assert.equal(0, assert(queue:stats()).pending)
    end)
  end)

  describe("client", function()
    it("puts jobs on the default queue or the one named", function()
      assert.equal("default", assert(client:enqueue("noop")).queue)
      local mail = server:client({ default_queue = "mail" })
      assert.equal("mail", assert(mail:enqueue("noop")).queue)
      assert.equal("mail", mail:queue().name)
      assert.equal("images", assert(mail:enqueue("noop", nil, { queue = "images" })).queue)
      mail:close()
    end)

    it("uses names of its own prefix", function()
      local other = server:client({ prefix = "second" })
      local job = assert(other:enqueue("noop"))
      assert(other.conn:last_msg("second_jobs", "second.q.default.normal." .. job.id))
      assert.equal("pending", job:status())
      assert.equal("JOB_NOT_FOUND", select(3, client:job(job.id):status()))
      other:close()
    end)

    it("raises for a queue name that is not one", function()
      local message = refusal(function() client:queue("bad name!") end)
      assert.matches("enqueue_spec.lua:%d+: queue name 'bad name!' must be 1 to 64 of", message)
      assert.matches("enqueue_spec.lua:%d+: queue name", refusal(function() client:queue(5) end))
    end)

    it("is closed once and for all, with its queues and handles", function()
      local brief = server:client()
      local queue = brief:queue("q")
      local job = assert(queue:enqueue("noop"))
      brief:close()
      brief:close()
      local closed = "enqueue_spec.lua:%d+: this client is closed"
      assert.matches(closed, refusal(function() queue:enqueue("noop") end))
      assert.matches(closed, refusal(function() queue:enqueue_many({}) end))
      assert.matches(closed, refusal(function() queue:stats() end))
      assert.matches(closed, refusal(function() brief:queue("other") end))
      assert.matches(closed, refusal(function() brief:enqueue("noop") end))
      assert.matches(closed, refusal(function() job:status() end))
    end)

    it("answers nil, message, code when there is no server", function()
      local none, message, code = naq.connect({ servers = "nats://127.0.0.1:1", connection_timeout = 0.5 })
      assert.is_nil(none)
      assert.matches("127.0.0.1:1", message, 1, true)
      assert.equal("CONNECTION", code)
    end)

    it("raises at the caller's line for options it does not know", function()
      local message = refusal(function() naq.connect({ server = "nats://x" }) end)
      assert.matches("enqueue_spec.lua:%d+: unknown option 'server' %(did you mean 'servers'%?%)", message)
    end)
  end)

  describe("the functions on the default client", function()
    -- Another client of these specs may be the default one: it is closed here and made again.
    before_each(function() naq.disconnect() end)
    after_each(function() naq.disconnect() end)
    teardown(function() client = server:client() end)

    it("use the first client connected", function()
      client = server:client()
      local name = support.fresh_name()
      local job = assert(naq.enqueue("noop", { 1 }, { queue = name }))
      assert.equal("pending", client:job(job.id):status())
      assert.equal("NOT_FINISHED", select(3, naq.fetch_job_result(job.id)))
      assert.equal(1, naq.purge_queue(name))
      assert.same({}, naq.list_workers())
    end)

    it("connect by the environment when there is none", function()
      core.setenv("NAQ_NATS_URL", server.url)
      local job = assert(naq.enqueue("noop"))
      core.setenv("NAQ_NATS_URL", nil)
      client = server:client()
      assert.equal("pending", client:job(job.id):status())
    end)

    it("raise at the caller's line for misuse", function()
      server:client()
      local message = refusal(function() naq.enqueue("noop", nil, { nothing = 1 }) end)
      assert.matches("enqueue_spec.lua:%d+: unknown option 'nothing'", message)
      assert.matches("enqueue_spec.lua:%d+: queue name", refusal(function() naq.purge_queue("a b") end))
    end)
  end)
end)
