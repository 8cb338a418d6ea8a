-- What a tortured queue is given, and whether what became of it is the truth; see spec/crash/torture_spec.lua
-- and spec/crash/jobs/torture.lua.

local core = require("naq.core")

local torture = {}

--- Starts under a claim before a job counts as one that kills its worker.
torture.MAX_CRASHES = 2

-- name, share of all, options, more arguments. The failing ones are a third.
local KINDS = {
  { "complete", 42, function() return {} end },
  { "fail", 22, function() return { max_retries = math.random(2) } end },
  { "recover", 14, function() return { max_retries = 2 } end, function() return { failures = math.random(2) } end },
  { "time_out", 4, function() return { timeout = 0.2, max_retries = math.random(0, 1) } end,
    function() return { sleeps = math.random(2) == 1 } end },
  { "eat", 4, function() return { memory_limit = "2MB", max_retries = math.random(0, 1) } end },
  { "discard", 4, function() return {} end },
  { "snooze", 10, function() return {} end, function() return { delay = math.random() * 0.5 } end },
}

local PRIORITIES = { "high", "normal", "low" }
-- None is over before the run is.
local TTLS = { 3600, 86400, 30 * 86400, 365 * 86400 }

local function kind_at(share)
  for _, kind in ipairs(KINDS) do
    share = share - kind[2]
    if share <= 0 then return kind end
  end
end

--- What to enqueue, chosen by math.random: entries for enqueue_many. `killers` of them kill their worker.
---@param side table  a trail
function torture.plan(side, count, killers)
  local entries = {}
  for i = 1, count do
    local kind = kind_at(math.random(100))
    local options = kind[3]()
    options.priority = PRIORITIES[math.random(3)]
    options.retry_delay, options.retry_strategy = math.random() * 0.5, "fixed"
    if math.random(3) == 1 then options.result_ttl = TTLS[math.random(#TTLS)] end
    if math.random(10) == 1 then options.delay = math.random() * 2 end
    local args = side:args(kind[4] and kind[4]())
    args.dir = side.dir
    if math.random(2) == 1 then args.seconds = math.random() * 0.03 else args.turns = math.random(20000) end
    entries[i] = { kind[1], args, options }
  end
  for _ = 1, killers do
    local i = math.random(count)
    entries[i] = { "kill_the_worker", side:args(), { priority = PRIORITIES[math.random(3)] } }
  end
  return entries
end

local Marks = {}
Marks.__index = Marks

--- What the jobs have said so far, read on with :follow(): runs[run] = {id =, attempt =, pid =, event = the latest
--- one of it}, of[id] = its runs in the order in which they began, pids[pid] = that it began some.
function torture.marks(side)
  return setmetatable({ path = side.path, runs = {}, of = {}, pids = {}, begun = 0, rest = "" }, Marks)
end

function Marks:_line(line)
  local id, attempt, pid, event, run = line:match("^(%S+) (%d+) (%d+) (%S+) (%S+)$")
  assert(id, "a line of the trail is not one: " .. line)
  if event ~= "begun" then
    self.runs[run].event = event
    return
  end
  if not self.of[id] then
    self.of[id], self.begun = {}, self.begun + 1
  end
  local began = { id = id, attempt = tonumber(attempt), pid = tonumber(pid), event = event }
  self.runs[run] = began
  self.pids[began.pid] = true
  table.insert(self.of[id], began)
  self.latest = id
end

function Marks:follow()
  local f = io.open(self.path, "rb")
  if not f then return end
  f:seek("set", self.offset or 0)
  local text = self.rest .. f:read("*a")
  self.offset = f:seek()
  f:close()
  local last = 0
  for line, at in text:gmatch("([^\n]*)\n()") do
    self:_line(line)
    last = at - 1
  end
  self.rest = text:sub(last + 1)
end

-- How a run of that attempt ended, at least once.
local function ran(marks, id, attempt, event)
  for _, run in ipairs(marks.of[id] or {}) do
    if run.attempt == attempt and (not event or run.event == event) then return true end
  end
  return false
end

-- The run that a text names, which has to be one of this job's that said so.
local function names(marks, id, text, attempt, event)
  local run = marks.runs[tostring(text):match("^run (%S+)$")]
  assert(run and run.id == id, "tells of no run of it: " .. tostring(text))
  assert(run.event == event, ("tells of a run that %s, not %s"):format(run.event, event))
  assert(run.attempt == attempt, ("tells of attempt %d, not %d"):format(run.attempt, attempt))
end

local function is(what, got, expected)
  if got ~= expected then error(("%s is %s, not %s"):format(what, tostring(got), tostring(expected)), 0) end
end

local function failed_attempts(marks, id, record, last)
  local attempts = record.attempts or {}
  is("the number of attempts in it", #attempts, last)
  for k, attempt in ipairs(attempts) do
    is("the attempt in its history", attempt.attempt, k)
    is("its code", attempt.code, "TORTURE")
    names(marks, id, attempt.message, k, "raised")
  end
end

local function completed_in(marks, id, record, attempt)
  is("state", record.state, "completed")
  is("attempt", record.attempt, attempt)
  assert(type(record.result) == "table", "has no result")
  names(marks, id, "run " .. tostring(record.result.run), attempt, "returned")
  for k = 1, attempt - 1 do
    assert(ran(marks, id, k, "raised"), ("attempt %d never failed"):format(k))
  end
end

local function failed_with(record, reason, code, attempt)
  is("state", record.state, "failed")
  is("reason", record.reason, reason)
  is("code", record.error.code, code)
  is("attempt", record.attempt, attempt)
end

-- A limit leaves no line of its own: it began, and never ended by itself.
local function limited(reason, code)
  return function(marks, id, record, entry)
    failed_with(record, reason, code, entry[3].max_retries + 1)
    for k = 1, entry[3].max_retries + 1 do
      assert(ran(marks, id, k), ("attempt %d never began"):format(k))
      is("code", record.attempts[k].code, code)
    end
  end
end

local ENDS = {
  complete = function(marks, id, record) completed_in(marks, id, record, 1) end,
  recover = function(marks, id, record, entry) completed_in(marks, id, record, entry[2].failures + 1) end,
  snooze = function(marks, id, record)
    completed_in(marks, id, record, 1)
    assert(ran(marks, id, 1, "snoozed"), "never snoozed")
  end,
  fail = function(marks, id, record, entry)
    local last = entry[3].max_retries + 1
    failed_with(record, "failed", "TORTURE", last)
    names(marks, id, record.error.message, last, "raised")
    failed_attempts(marks, id, record, last)
  end,
  discard = function(marks, id, record)
    failed_with(record, "discarded", record.error.code, 1)
    names(marks, id, record.error.message, 1, "discarded")
  end,
  time_out = limited("timeout", "JOB_TIMEOUT"),
  eat = limited("memory", "JOB_MEMORY"),
}

-- Begun without an outcome under as many claims, each in a worker that has died since. One that does no harm
-- is cleared as soon as it runs alone, unless somebody else killed that worker in this very moment.
local function crashed(case, id, entry, record)
  failed_with(record, "crashed", "JOB_CRASHED", record.attempt)
  -- The claim's; one that died before its first line left none.
  local last = tonumber(record.attempts[#record.attempts].worker:match("%-(%d+)%-%x+$"))
  assert(case.dead[last], ("its last worker, %s, never died"):format(last))
  local died, count = { [last] = true }, 1
  for _, run in ipairs(case.marks.of[id] or {}) do
    if run.attempt == record.attempt and case.dead[run.pid] and not died[run.pid] then
      died[run.pid], count = true, count + 1
    end
  end
  assert(count >= torture.MAX_CRASHES, ("began in %d workers that died"):format(count))
  assert(entry[1] == "kill_the_worker" or case.killed[last], "did no harm, and its last worker died of another job")
end

local function told_truth(record, answers)
  for _, answer in ipairs(answers) do
    if answer == "cancelled" then
      is("told cancelled, its state", record.state, "cancelled")
    elseif answer == "completed" or answer == "failed" then
      is("told " .. answer .. ", its state", record.state, answer)
    end
  end
end

local function cancelled(answers)
  for _, answer in ipairs(answers) do
    if answer == "cancelled" or answer == "unsure" then return end
  end
  error("is cancelled, and nobody was told so", 0)
end

--- Whether a job's record is the truth about it; raises what is not.
---@param case {marks: table, dead: table, killed: table, answers: string[], seen: table?}
---   dead: pids of workers that died; killed: of those that died of no job; answers: what its cancels said;
---   seen: an earlier record of its end
function torture.agree(case, id, entry, record)
  local marks, answers = case.marks, case.answers
  if case.seen then
    is("seen before, its state", record.state, case.seen.state)
    is("seen before, its end", record.finished_at, case.seen.finished_at)
  end
  told_truth(record, answers)
  if record.state == "cancelled" then return cancelled(answers) end
  if entry[1] == "kill_the_worker" or record.reason == "crashed" then
    return crashed(case, id, entry, record)
  end
  ENDS[entry[1]](marks, id, record, entry)
end

--- Whether a job has the dead letter that its record asks for, or none; raises what is not.
function torture.letter_agrees(record, letter)
  if record.state ~= "failed" then return assert(not letter, "has a dead letter") end
  assert(letter, "has no dead letter")
  is("its dead letter's reason", letter.reason, record.reason)
  is("its dead letter's message", letter.error.message, record.error.message)
end

--- What a cancel answered: "cancelled", how the job had ended, "refused" (neither could be said) or "unsure"
--- (the server was away). Raises on anything else.
function torture.cancel(client, id)
  local done, message, code = client:job(id):cancel()
  if done then return "cancelled" end
  if code == "WRONG_STATE" then return message:match("it has (%a+)$") or "refused" end
  if code == "CONNECTION" or code == "TIMEOUT" then return "unsure" end
  error(("cancelling job %s: %s (%s)"):format(id, message, code), 0)
end

--- The seed of this run: NAQ_TORTURE_SEED, or a new one.
function torture.seed()
  local seed = math.floor(tonumber(os.getenv("NAQ_TORTURE_SEED")) or core.now() * 1000 % 2147483647)
  math.randomseed(seed)
  return seed
end

return torture
