local core = require("naq.core")
local support = require("spec.support")

describe("queue", function()
  local server, client, queue
  setup(function()
    server = support.nats.start()
    client = server:client()
    assert(client:ensure_layout())
  end)
  teardown(function()
    client:close()
    server:stop()
  end)
  before_each(function() queue = client:queue(support.fresh_name()) end)

  local function fill(n, opts)
    local list = {}
    for i = 1, n do
      list[i] = { "noop", i, opts }
    end
    return assert(queue:enqueue_many(list))
  end

  -- A consumer as a worker makes it.
  local function serve(priority)
    local name = queue.name .. "_" .. priority
    local body = ('{"stream_name":"naq_jobs","config":{"durable_name":"%s","ack_policy":"explicit",'
      .. '"filter_subject":"naq.q.%s.%s.*","max_deliver":-1}}'):format(name, queue.name, priority)
    local answer = assert(client.conn:request("$JS.API.CONSUMER.DURABLE.CREATE.naq_jobs." .. name, body, 5))
    assert.is_nil(core.decode(answer).error)
    return name
  end

  describe("stats()", function()
    it("counts a queue that nobody has served yet", function()
      fill(5)
      fill(3, { priority = "high" })
      assert.same({
        queue = queue.name,
        pending = 8,
        running = 0,
        delayed = 0,
        failed = 0,
        paused = false,
        workers = 0,
      }, assert(queue:stats()))
    end)

    it("counts by the consumers of one that is served", function()
      fill(5)
      fill(2, { priority = "low" })
      local consumer = serve("normal")
      assert(client.conn:request(("$JS.API.CONSUMER.MSG.NEXT.naq_jobs." .. consumer), "1", 5))
      local stats = assert(queue:stats())
      assert.equal(6, stats.pending)
      assert.equal(1, stats.running)
    end)

    it("counts dead letters by job", function()
      for _, id in ipairs({ "a", "b" }) do
        for hop = 0, 1 do
          local subject = ("naq.f.%s.%s"):format(queue.name, id)
          assert(client.conn:js_publish(subject, "{}", ("%s%s:dead:%d"):format(queue.name, id, hop)))
        end
      end
      assert.equal(2, assert(queue:stats()).failed)
    end)

    it("counts what waits in the delayed store for it", function()
      for _, to in ipairs({ queue.name, queue.name, "another" }) do
        local id = support.fresh_name()
        assert(client.conn:js_publish("naq.d.2900000." .. id, '{"job":"x"}', id .. ":1", {
          headers = { ["Naq-Due"] = "1740000000000", ["Naq-To"] = to .. ".normal" },
        }))
      end
      assert.equal(2, assert(queue:stats()).delayed)
    end)

    it("counts the workers that live and serve it", function()
      local function worker(id, queues, seen_at)
        local form = '{"id":"%s","queues":["%s"],"seen_at":%.3f,"heartbeat_interval":15}'
        local record = form:format(id, queues, seen_at)
        assert(client.conn:kv_put("naq_workers", id, record))
      end
      worker("w1", queue.name, core.now())
      worker("w2", queue.name, core.now() - 50)
      worker("w3", "another", core.now())
      assert.equal(1, assert(queue:stats()).workers)
      local stale = {}
      for _, w in ipairs(assert(client:workers())) do
        stale[w.id] = w.stale
      end
      assert.is_false(stale.w1)
      assert.is_true(stale.w2)
    end)

    it("is all zeros on a server that naq has never seen", function()
      local fresh = support.nats.start()
      local first = fresh:client()
      local stats = assert(first:queue("q"):stats())
      assert.equal(0, stats.pending)
      assert.equal(0, stats.failed)
      assert.equal(0, first:queue("q"):purge())
      assert.same({}, first:queues())
      first:close()
      fresh:stop()
    end)
  end)

  describe("purge()", function()
    it("removes what is on the queue, of every priority, and nothing else", function()
      local other = client:queue(support.fresh_name())
      local kept = assert(other:enqueue("noop"))
      fill(4)
      fill(2, { priority = "high" })
      fill(1, { priority = "low" })
      assert.equal(7, queue:purge())
      assert.equal(0, assert(queue:stats()).pending)
      assert.equal("pending", kept:status())
      assert.equal(0, queue:purge())
    end)

    it("leaves a served queue able to deliver what comes later", function()
      fill(10)
      local consumer = serve("normal")
      assert.equal(10, queue:purge())
      local job = assert(queue:enqueue("noop", { later = true }))
      local data = assert(client.conn:request("$JS.API.CONSUMER.MSG.NEXT.naq_jobs." .. consumer, "1", 5))
      assert.is_true(core.decode(data).args.later)
      assert.equal("pending", job:status())
    end)
  end)

  describe("client:queues()", function()
    it("names the queues that are served and those that hold jobs", function()
      serve("normal")
      serve("high")
      local unserved = client:queue(support.fresh_name())
      assert(unserved:enqueue("noop"))
      local found = {}
      for _, name in ipairs(assert(client:queues())) do
        found[name] = (found[name] or 0) + 1
      end
      assert.equal(1, found[queue.name])
      assert.equal(1, found[unserved.name])
    end)

    it("names those that have settings, or delayed jobs only, and no others", function()
      local set, unset, delayed =
        client:queue(support.fresh_name()), client:queue(support.fresh_name()), client:queue(support.fresh_name())
      assert(set:pause())
      assert(unset:configure({ concurrency = 1 }))
      assert(unset:configure({ concurrency = require("naq").null }))
      local job = assert(delayed:enqueue_in(3600, "noop"))
      local found = {}
      for _, name in ipairs(assert(client:queues())) do
        found[name] = true
      end
      assert.same({ true, nil, true }, { found[set.name], found[unset.name], found[delayed.name] })
      assert(job:cancel())
    end)
  end)
end)
