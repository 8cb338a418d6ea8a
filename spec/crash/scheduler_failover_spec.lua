-- Schedulers that die, freeze, stop and meet each other: what is due is released by one of them, once. Most of
-- it with a short lease, in the long form with the usual one: the same, later.

local core = require("naq.core")
local support = require("spec.support")
local eventually, process, trail = support.eventually, support.process, support.trail

local USUAL_TTL = 5
local SHORT_TTL = os.getenv("NAQ_TEST_SCALE") == "full" and USUAL_TTL or 2
-- After the end of the lease: to begin.
local BEGIN_SECONDS = 1

describe("schedulers", function()
  local at = support.scene()
  local client, side, server, ttl

  local function begin(lock_ttl)
    local _
    ttl = lock_ttl
    client, _, side, server = at:begin(nil, { scheduler = { lock_ttl = ttl } })
    -- A job that was delivered to a connection which is gone comes again after that time.
    at:worker({ args = { "--no-scheduler" }, env = { NAQ_DEFAULT_ACK_WAIT = "5" } })
  end
  after_each(function() at:finish() end)

  local function start(id, ...)
    local env = { NAQ_SCHEDULER_LOCK_TTL = ttl ~= USUAL_TTL and tostring(ttl) or false }
    local p = process.start({ "scheduler", "-u", server.url, "-i", id, "-l", "debug", ... }, { env = env })
    p.id = id
    return p
  end

  local function leader() return (client:leader() or {}).leader end

  local function ready(p, seconds)
    eventually(function() return p:log():find("ready after", 1, true) end, seconds or 10, p.id .. " to be ready")
    return p
  end

  -- So many jobs, the first in `first` seconds, spread over `over` seconds.
  local function enqueue(count, first, over)
    local from = core.now() + first
    return at:enqueue(count, function(i)
      return { "mark", side:args({ due = from + over * i / count }), { at = from + over * i / count } }
    end)
  end

  local function each_ran_once(ids, seconds, after_a_kill)
    trail.all_ended(client, ids, seconds, after_a_kill)
    local runs = side:runs()
    for _, id in ipairs(ids) do
      assert.equal(1, #(runs[id] or {}), "runs of job " .. id)
    end
    return runs
  end

  -- A scheduler that waits for the first to lead no more.
  local function wait_beside(first, id)
    local p = start(id)
    eventually(function() return p:log():find(first.id .. " leads", 1, true) end, 10, id .. " to know who leads")
    return p
  end

  local function take_over()
    local first = ready(start("first"))
    local second = wait_beside(first, "second")
    local ids = enqueue(400, 0.5, 0.8 * ttl)
    side:reaches(80)
    first:kill()
    local killed = core.mono()
    ready(second)
    local took = core.mono() - killed
    assert.is_true(took < ttl + BEGIN_SECONDS, ("took %.1f s"):format(took))
    each_ran_once(ids, 20)
    assert.equal("second", leader())
  end

  it("take over from one that was killed, within 6 s; nothing is lost, nothing fires twice", function()
    begin(USUAL_TTL)
    take_over()
  end)

  describe("under a lease of their own", function()
    before_each(function() begin(SHORT_TTL) end)

    it("take over when that is over", take_over)

    it("take over in the middle of a burst", function()
      local first = ready(start("first"))
      local second = wait_beside(first, "second")
      local ids = enqueue(5000, 2, 0)
      side:reaches(100)
      first:kill()
      ready(second)
      each_ran_once(ids, 40)
    end)

    it("release nothing any more once they were frozen for longer than their lease", function()
      local first = ready(start("first"))
      local second = wait_beside(first, "second")
      at:forget_msg_ids()
      local ids = enqueue(300, 1, 1.6 * ttl)
      side:reaches(20)
      first:freeze()
      ready(second)
      side:reaches(200) -- more than were due when the first froze: what it holds has been released
      first:thaw()
      eventually(function()
        return first:log():find("its lease is gone", 1, true) or first:log():find("reconnect", 1, true)
      end, 10, "the first to notice")
      each_ran_once(ids, 30)
      assert.equal("second", leader())
      -- But for the few that the first had released and could not ack any more, each was released once.
      local stored = at:stored()
      assert.is_true(stored < #ids + 20, ("%d messages for %d jobs"):format(stored, #ids))
    end)

    it("hand over at once when they are stopped", function()
      local first = ready(start("first"))
      local second = wait_beside(first, "second")
      local ids = enqueue(200, 0.5, 2)
      side:reaches(20)
      first:term()
      local stopped = core.mono()
      ready(second, 3)
      local took = core.mono() - stopped
      assert.is_true(took < 1, ("took %.1f s"):format(took))
      assert.equal("exited", (first:wait(5)))
      each_ran_once(ids, 15)
    end)

    it("are two for a moment: one gives in, nothing fires twice", function()
      local first = ready(start("first"))
      local second = wait_beside(first, "second")
      local ids = enqueue(2000, 1, 2.5)
      side:reaches(200)
      -- Somebody's hand removes the lease under the first.
      assert(client.conn:kv_delete("naq_leader", "scheduler"))
      ready(second)
      eventually(function() return first:log():find("its lease is gone", 1, true) end, 5, "the first to give in")
      each_ran_once(ids, 20)
    end)

    it("go on after the server was killed in the middle of releasing", function()
      ready(start("first"))
      local ids = enqueue(3000, 1.5, 1)
      side:reaches(300)
      server:kill()
      server:restart()
      each_ran_once(ids, 60, true)
    end)

    it("go on after the server stood still for longer than a lease", function()
      local first = ready(start("first"))
      wait_beside(first, "second")
      local ids = enqueue(400, 0.5, 2 * ttl)
      side:reaches(20)
      server:freeze()
      eventually(function() return first:log():find("its lease is gone", 1, true) end, ttl + 3, "the first to give in")
      server:thaw()
      each_ran_once(ids, 40) -- whichever of them leads
    end)

    it("refuse to run alone while another leads", function()
      ready(start("first"))
      local status, _, message = process.naq("scheduler", "-u", server.url, "-i", "second", "--disable-ha")
      assert.equal(1, status)
      assert.matches("scheduler second: first leads", message, 1, true)
      local refused = core.scheduler({ connect = { servers = { server.url } }, alone = true, lock_ttl = ttl })
      assert.is_nil(refused)
    end)

    it("run alone where one that was killed has left its lease", function()
      local first = ready(start("first"))
      first:kill()
      first:wait()
      local ids = enqueue(20, 0, 1)
      ready(start("second", "--disable-ha"))
      each_ran_once(ids, 15)
      assert.equal("second", leader())
    end)

    it("are not needed where a worker runs: it releases its own", function()
      at:worker({ name = "whole", env = { NAQ_SCHEDULER_LOCK_TTL = tostring(ttl) } })
      local ids = enqueue(50, 0.2, 1)
      each_ran_once(ids, 15)
      assert.matches("^whole%-", leader())
    end)
  end)
end)
