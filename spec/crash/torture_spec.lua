-- A queue under torture: jobs that complete, fail, recover, time out, eat memory, are discarded, snoozed or
-- cancelled at random moments, or kill their worker, while workers and the server are killed. Whatever happens,
-- every job ends in exactly one record, and that is the truth.
--
-- NAQ_TORTURE_SEED=N does the same again, as far as the plan goes: the moments are the machine's.

local core = require("naq.core")
local support = require("spec.support")
local torture = require("spec.support.torture")
local eventually, trail = support.eventually, support.trail

local FULL = os.getenv("NAQ_TEST_SCALE") == "full"
local SIZE = FULL and { jobs = 20000, killers = 12, worker_kills = 12, server_kills = 6, seconds = 3600 }
  or { jobs = 600, killers = 1, worker_kills = 2, server_kills = 1, seconds = 240 }

local ENV = {
  NAQ_DEFAULT_ACK_WAIT = "1",
  NAQ_WORKER_HEARTBEAT_INTERVAL = "1",
  NAQ_WORKER_MAX_CRASHES = tostring(torture.MAX_CRASHES),
}

describe("a tortured queue", function()
  local at = support.scene()
  local client, _, side, server
  before_each(function() client, _, side, server = at:begin() end)
  after_each(function() at:finish() end)

  -- dead: pids of workers that are; killed: of those that we killed
  local workers, marks, dead, killed

  local function start(k)
    workers[k] = at:worker({ jobs = { support.root .. "/spec/crash/jobs/torture.lua" }, level = "warning", env = ENV })
  end

  -- Nothing but SIGKILL ends a worker, or that no server was there, or none any more, before it began its first
  -- job; and it has nothing to say for itself that a sanitizer would.
  local function buried(worker)
    local state, status = worker:wait()
    local log = worker:log()
    if state == "exited" and status == 3 then
      assert.matches("start a server with: naq server", log, 1, true)
      marks:follow()
      assert.is_nil(marks.pids[worker.pid], "it had begun jobs: " .. log)
    else
      assert.same({ "signaled", 9 }, { state, status }, log)
      dead[worker.pid] = true
    end
    assert.is_nil(log:find("Sanitizer", 1, true), log)
    worker:stop()
  end

  -- Workers that a job has killed are replaced.
  local function tend()
    for k, worker in ipairs(workers) do
      if worker:wait(0) ~= "running" then
        buried(worker)
        start(k)
      end
    end
  end

  local function kill_worker()
    local k = math.random(#workers)
    if workers[k]:wait(0) == "running" then -- else a job of its own was faster, and it is no process any more
      killed[workers[k].pid] = true
      workers[k]:kill()
    end
    buried(workers[k])
    start(k)
  end

  local back = function() end
  local function kill_server()
    eventually(function() return client.conn:rtt(1) end, 60, "the server to be there")
    back()
    if math.random(2) == 1 then
      server:kill()
      server:restart()
    else
      -- Cancels go on while it is away.
      back = server:kill_meanwhile(0, math.random())
    end
  end

  -- Kills at random points of the way, by how much has begun: { {at = 0.3, kill_worker}, ... }.
  local function kills()
    local list = {}
    local function add(count, act)
      for _ = 1, count do
        list[#list + 1] = { at = math.random() * 0.9, act = act }
      end
    end
    add(SIZE.worker_kills, kill_worker)
    add(SIZE.server_kills, kill_server)
    table.sort(list, function(a, b) return a.at < b.at end)
    return list
  end

  local function stored()
    local n = 0
    for _, class in ipairs({ "1h", "1d", "7d", "30d", "forever" }) do
      n = n + trail.messages(client, "KV_naq_results_" .. class)
    end
    return n
  end

  -- Until everything has begun or was cancelled: kill and cancel, and remember what was said.
  local function go(ids, killers)
    local plan, answers, seen, cancels = kills(), {}, {}, 0
    local deadline = core.mono() + SIZE.seconds
    local function cancel()
      -- One that runs, as far as can be known, or any.
      local id = math.random(2) == 1 and marks.latest or ids[math.random(#ids)]
      if killers[id] then return end
      answers[id] = answers[id] or {}
      table.insert(answers[id], torture.cancel(client, id))
      cancels = cancels + 1
    end
    local function look()
      local id = ids[math.random(#ids)]
      local info = client:job(id):info()
      if not seen[id] and info and (info.state == "completed" or info.state == "failed") then seen[id] = info end
    end
    local ended
    repeat
      tend()
      marks:follow()
      local begun = marks.begun / #ids
      while plan[1] and plan[1].at <= begun do
        table.remove(plan, 1).act()
      end
      if marks.latest and cancels < #ids * math.min(begun, 0.9) * 0.2 then cancel() end
      look()
      core.sleep(math.random() * 0.01)
      if not plan[1] then
        back()
        ended = client.conn:rtt(1) and stored() >= #ids
        for id in pairs(killers) do
          ended = ended and client:job(id):status() == "failed"
        end
      end
      assert(core.mono() < deadline, ("%d of %d jobs begun, %d kills to come"):format(marks.begun, #ids, #plan))
    until ended
    return answers, seen
  end

  local function torment()
    workers, dead, killed = {}, {}, {}
    local entries = torture.plan(side, SIZE.jobs, SIZE.killers)
    local ids = at:enqueue(#entries, function(i) return entries[i] end)
    local killers = {}
    marks = torture.marks(side)
    for i, id in ipairs(ids) do
      if entries[i][1] == "kill_the_worker" then killers[id] = true end
    end
    for k = 1, 2 do
      start(k)
    end
    local answers, seen = go(ids, killers)

    local records = trail.all_ended(client, ids, FULL and 600 or 90, true)
    marks:follow()
    local letters, lies = trail.letters(client), {}
    for i, id in ipairs(ids) do
      local record, letter = records[id], letters[id]
      local case = { marks = marks, dead = dead, killed = killed, answers = answers[id] or {}, seen = seen[id] }
      local ok, why = pcall(torture.agree, case, id, entries[i], record)
      if ok then
        ok, why = pcall(torture.letter_agrees, record, letter)
      end
      if not ok then
        lies[#lies + 1] = ("%s %s: %s; %s"):format(entries[i][1], id, why, core.encode(record))
      end
      letters[id] = nil
    end
    assert(#lies == 0, #lies .. " records are wrong:\n" .. table.concat(lies, "\n", 1, math.min(#lies, 20)))
    assert.is_nil(next(letters), "a dead letter of no job")
    -- 2.9.10 that was killed may keep messages whose acks it remembers: they are cleared.
    eventually(function()
      local queued, delayed = trail.messages(client, "naq_jobs"), trail.messages(client, "naq_delayed")
      return queued == 0 and delayed == 0, ("%d queued, %d delayed"):format(queued, delayed)
    end, FULL and 120 or 30, "nothing to be left")
    for _, worker in ipairs(workers) do
      worker:term()
      assert.same({ "exited", 0 }, { worker:wait(60) }, worker:log())
      assert.is_nil(worker:log():find("Sanitizer", 1, true), worker:log())
    end
  end

  it(("of %d jobs tells the truth about each"):format(SIZE.jobs), function()
    local seed = torture.seed()
    local ok, why = pcall(torment)
    if ok then return end
    local text = type(why) == "table" and (why.message or core.encode(why)) or tostring(why)
    error(("NAQ_TORTURE_SEED=%d: %s"):format(seed, text), 0)
  end)
end)
