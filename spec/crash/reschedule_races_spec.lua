-- job:reschedule() against the scheduler that is about to release the job, against another one who moves it,
-- and when who moves it dies: each job runs once, and what is told to have been moved runs at its new time.

local core = require("naq.core")
local jetstream_api = require("naq.jetstream_api")
local support = require("spec.support")

local BUCKET_SECONDS = 600

describe("moving a job", function()
  local at = support.scene()
  local client, queue, side, server
  before_each(function() client, queue, side, server = at:begin() end)
  after_each(function() at:finish() end)

  local function once(ids, seconds)
    support.trail.all_ended(client, ids, seconds)
    local runs = side:runs()
    for _, id in ipairs(ids) do
      assert.equal(1, #runs[id], "runs of " .. id)
    end
    return runs
  end

  it("by two at once, while the scheduler releases it, leaves it one run", function()
    at:worker()
    local ids = at:enqueue(60, function() return { "mark", side:args(), { delay = 3600 } } end)
    local movers = {}
    local command = { "run", "-u", server.url, support.root .. "/spec/crash/jobs/mover.lua", 60 }
    for _, id in ipairs(ids) do
      command[#command + 1] = id
    end
    for i = 1, 2 do
      movers[i] = support.process.start(command)
    end
    local moves = 0
    for _, mover in ipairs(movers) do
      mover:ends(0, 90)
      moves = moves + tonumber(mover:stdout():match("%d+"))
    end
    assert(moves >= #ids, moves)
    once(ids, 60)
  end)

  it("in its last second moves it, or is refused and lets it run", function()
    at:worker()
    local COUNT, NEW = 60, 4
    local begin = core.now() + 1
    local function old(i) return begin + i / 20 end
    local ids = at:enqueue(COUNT, function(i) return { "mark", side:args(), { at = old(i) } } end)
    -- From more than half a second before its time, where it can be moved for sure, to when it has gone.
    local moved, count, turns = {}, 0, {}
    for i, id in ipairs(ids) do
      turns[i] = { id = id, old = old(i), at = old(i) - 1 + 1.1 * (i * 37 % COUNT) / COUNT }
    end
    table.sort(turns, function(a, b) return a.at < b.at end)
    for _, turn in ipairs(turns) do
      core.sleep(math.max(turn.at - core.now(), 0))
      local done, message, code = client:job(turn.id):reschedule(turn.old + NEW)
      moved[turn.id] = done
      count = count + (done and 1 or 0)
      if not done then assert.equal("WRONG_STATE", code, message) end
    end
    assert(count > 0 and count < COUNT, count)
    local runs = once(ids, 60)
    for i, id in ipairs(ids) do
      local late = runs[id][1].at - old(i)
      if moved[id] then
        assert(late >= NEW - 0.001, ("job %d was moved and ran %.3f s after its old time"):format(i, late))
      else
        assert(late < NEW, ("job %d was not moved and ran %.3f s late"):format(i, late))
      end
    end
  end)

  it("takes one that is overdue, since nobody releases it", function()
    local ids = {}
    for i = 1, 20 do
      ids[i] = core.new_id()
      local payload = assert(core.payload("mark", side:args()))
      assert(client.conn:put_delayed("naq", queue.name, "normal", ids[i], core.now() - 60, payload))
    end
    local new = math.floor(core.now()) + 5
    assert(client:job(ids[1]):reschedule(new))
    assert.equal(new, client:job(ids[1]):info().run_at)
    at:worker() -- who does now, while the others are moved
    local moved = { [ids[1]] = true }
    for i = 2, #ids do
      moved[ids[i]] = client:job(ids[i]):reschedule(new)
    end
    local runs = once(ids, 60)
    for _, id in ipairs(ids) do
      assert.equal(moved[id] == true, runs[id][1].at >= new - 0.001, id)
    end
  end)

  it("does not take the place of the next attempt of one that runs meanwhile", function()
    at:worker()
    local id = core.new_id()
    -- What a mover puts there, before it sees that the job has left the store.
    local due = core.now() + 30
    local copy = assert(core.payload("mark", side:args(), { hop = 1 }))
    local seq = assert(client.conn:put_delayed("naq", queue.name, "normal", id, due, copy, 1, true))
    local delay = due - core.now()
    local options = { id = id, retry_delay = { delay }, retry_jitter = 0 }
    local payload = core.payload("fail_first", side:args(), options)
    assert(client.conn:js_publish(("naq.q.%s.normal.%s"):format(queue.name, id), payload, id .. ":0"))
    side:reaches(1)
    assert(jetstream_api.call(client.conn, "STREAM.MSG.DELETE", "naq_delayed", { seq = seq, no_erase = true }))
    local job = client:job(id)
    support.eventually(function() return job:status() == "retry" end, 20, "its next attempt to be stored")
    assert(job:retry())
    assert.equal("completed", job:wait(20))
    assert.equal(2, job:result())
  end)

  describe("by who dies on the way", function()
    local call = jetstream_api.call
    local shifted = 0
    local function shift(seconds)
      core.shift_clock(seconds)
      shifted = shifted + seconds
    end
    after_each(function()
      jetstream_api.call = call
      shift(-shifted)
    end)

    -- At the nth deletion, before it or just behind it: what it has put is there by then.
    local function die(nth, behind)
      local seen = 0
      jetstream_api.call = function(conn, what, ...)
        if what == "STREAM.MSG.DELETE" then
          seen = seen + 1
          if seen == nth then
            if behind then call(conn, what, ...) end
            error("dead")
          end
        end
        return call(conn, what, ...)
      end
    end

    -- Seconds from the beginning of one of the store's buckets, which is some seconds off.
    local CASES = {
      earlier = { from = 1, to = -1 }, -- to the bucket before
      later = { from = -1, to = 1 }, -- to the bucket behind
      within = { from = 1, to = 0.5 },
    }

    it("leaves it one run, whatever the time it had and was to have", function()
      at:worker({ args = { "--no-scheduler" } })
      local scheduler = assert(require("naq.scheduler").new({ servers = { server.url } }))
      local bucket = (math.floor(core.now() / BUCKET_SECONDS) + 1) * BUCKET_SECONDS
      -- Far enough for the scheduler not to hold copies of them yet, which it would look at again.
      shift(bucket - 8 - core.now())
      local ids = {}
      for name, case in pairs(CASES) do
        for _, nth in ipairs({ 1, 2 }) do
          for _, behind in ipairs({ false, true }) do
            local id = ("%s-%s-%d"):format(name, behind and "behind" or "before", nth)
            local job = assert(queue:enqueue_at(bucket + case.from, "mark", side:args(), { id = id }))
            ids[#ids + 1] = id
            die(nth, behind)
            pcall(job.reschedule, job, bucket + case.to)
            jetstream_api.call = call
          end
        end
      end
      -- What both times leave, and then the spare: a witness behind each shows that they have passed.
      for _, seconds in ipairs({ 0, 3 * BUCKET_SECONDS }) do
        shift(seconds)
        local witness = assert(queue:enqueue_at(math.max(bucket + 1.5, core.now() + 0.2), "mark", side:args()))
        ids[#ids + 1] = witness.id
        assert.equal("completed", witness:wait(30))
      end
      once(ids, 30)
      scheduler:close()
    end)
  end)
end)
