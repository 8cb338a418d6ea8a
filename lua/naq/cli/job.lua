-- `naq job`: `list` jobs; one by its id: `show` everything that is known about it, `result` what it returned,
-- `explain` why it does not run, `cancel` it, `retry` it.

local exit = require("naq.cli.exit")
local output = require("naq.cli.output")
local parser = require("naq.cli.parser")
local session = require("naq.cli.session")

local job = {}

-- The members of --json, in this order.
local KEYS = {
  "id", "job", "queue", "priority", "state", "attempt", "max_retries", "enqueued_at", "run_at",
  "started_at", "finished_at", "worker", "args", "result", "error", "attempts", "attempts_cut", "progress",
  "depends_on",
}

local ID = { "id", doc = "the job's id, as enqueue printed it" }

local STATE_STYLES = {
  completed = "green", failed = "red", retry = "yellow", running = "bold", cancelled = "dim",
}

local function took(from, to) return from and to and output.duration(to - from) end

local function failure_line(failure)
  if not failure then return nil end
  return failure.code and ("%s: %s"):format(failure.code, failure.message) or failure.message
end

local function attempt_of(found)
  if not found.attempt then return nil end
  if not found.max_retries then return ("%d"):format(found.attempt) end
  return ("%d of %d"):format(found.attempt, found.max_retries + 1)
end

local function json(value)
  if value == nil then return nil end
  return (exit.check(require("naq.core").encode(value)))
end

local INDENT = "     "

--- Each failed attempt with its error and traceback.
function job.print_attempts(attempts)
  output.line("\n", output.style("Failed attempts", "bold"))
  for _, attempt in ipairs(attempts) do
    local duration = took(attempt.started_at, attempt.finished_at)
    output.line(("  %s  %s%s%s"):format(
      attempt.attempt or "?",
      output.time(attempt.started_at) or "-",
      attempt.worker and "  by " .. attempt.worker or "",
      duration and "  took " .. duration or ""
    ))
    output.line(INDENT, output.style(output.indented(failure_line(attempt) or "?", INDENT), "red"))
    if attempt.traceback then output.line(INDENT, output.indented(attempt.traceback, INDENT)) end
  end
end

local function print_job(found)
  local attempts = found.attempts or {}
  output.fields({
    { "id", found.id },
    { "job", found.job },
    { "queue", found.queue },
    { "priority", found.priority },
    { "state", found.state, style = STATE_STYLES[found.state] },
    { "attempt", attempt_of(found) },
    { "enqueued", output.time(found.enqueued_at) },
    { "runs at", output.time(found.run_at) },
    { "started", output.time(found.started_at) },
    { "finished", output.time(found.finished_at) },
    { "took", took(found.started_at, found.finished_at) },
    { "worker", found.worker },
    { "args", json(found.args) },
    { "result", json(found.result) },
    { "error", failure_line(found.error), style = "red" },
    { "cut", found.attempts_cut and ("%d earlier attempts"):format(found.attempts_cut) or nil },
    { "traceback", #attempts == 0 and found.error and found.error.traceback or nil },
  })
  if #attempts > 0 then job.print_attempts(attempts) end
end

job.show = {
  summary = "everything that is known about a job",
  description = [[
    Prints what is known about a job: its state, when it was enqueued, started and finished, on
    which worker, its arguments, its result or error, and each failed attempt with its
    traceback.]],
  usage = "ID",
  arguments = { ID },
  example = "naq job show 01jd0k3c9m5q8w2x7z4v6b1n3t",
}

local function check_id(args)
  if require("naq.core").valid_id(args.id) then return end
  exit.usage(("'%s' is not a job's id: 1 to 64 of A-Z a-z 0-9 _ -"):format(args.id), args.command)
end

function job.show.run(args)
  check_id(args)
  return session.with(args, function(client)
    local found = exit.check(exit.check(client:job(args.id)):info())
    if args.json then
      output.object(KEYS, found)
    else
      print_job(found)
    end
  end)
end

local LISTED = {
  "id", "job", "queue", "priority", "state", "attempt", "max_retries", "enqueued_at", "run_at", "started_at",
  "finished_at", "worker", "args", "result", "error", "attempts", "attempts_cut",
}

local function moment_of(row)
  return output.time(row.finished_at or row.run_at or row.started_at or row.enqueued_at)
end

local COLUMNS = {
  { title = "ID", value = function(row) return row.id end },
  { title = "JOB", value = function(row) return row.job end, cut = true },
  { title = "QUEUE", value = function(row) return row.queue end, cut = true },
  {
    title = "STATE",
    value = function(row) return row.state end,
    style = function(row) return STATE_STYLES[row.state] end,
  },
  { title = "ATTEMPT", value = function(row) return attempt_of(row) end },
  { title = "WHEN", value = moment_of },
}

-- Lines of a table are aligned so many at a time: the list may be longer than fits into memory.
local ROWS = 500
local LIMIT = 100

job.list = {
  summary = "the jobs, what runs first, then what waits, then what has ended",
  description = [[
    Lists jobs: what runs, what waits on queues, what waits for its time, then what has ended, the
    latest first. WHEN is when it ended, begins, began or was enqueued.]],
  usage = "[-q QUEUE] [--state STATE] [--limit N]",
  options = {
    { "-q --queue", "QUEUE", doc = "only of this queue" },
    { "--state", "STATE", doc = "only in this state: running, pending, retry, scheduled, completed, failed, "
      .. "cancelled" },
    { "--limit", "N", convert = parser.count, doc = ("at most so many (%d)"):format(LIMIT) },
  },
  example = "naq job list -q mail --state failed --limit 20",
}

function job.list.run(args)
  return session.with(args, function(client)
    local rows, count, limit = {}, 0, args.limit or LIMIT
    local function flush()
      if #rows > 0 then output.table(COLUMNS, rows) end
      rows = {}
    end
    local each = exit.guard(args.command, function()
      return client:each_job({ queue = args.queue, state = args.state })
    end)
    for row, message, code in each do
      if row == false then exit.fail(message, code) end
      count = count + 1
      if args.json then
        output.object(LISTED, row)
      else
        rows[#rows + 1] = row
        if #rows == ROWS then flush() end
      end
      if count == limit then break end
    end
    flush()
    if count == 0 and not args.json then output.line("no jobs") end
  end)
end

job.explain = {
  summary = "why a job is not running",
  description = [[
    Says why a job is not running: its queue is paused or served by nobody, a limit is reached, its time
    has not come, it is being retried, others stand before it, the worker that had it is gone.]],
  usage = "ID",
  arguments = { ID },
  example = "naq job explain 01jd0k3c9m5q8w2x7z4v6b1n3t",
}

function job.explain.run(args)
  check_id(args)
  return session.with(args, function(client)
    local told = exit.check(exit.check(client:job(args.id)):explain())
    if args.json then
      output.object({ "id", "state", "queue", "reasons" }, told)
      return
    end
    output.line(told.id, ": ", output.style(told.state, STATE_STYLES[told.state]))
    for _, reason in ipairs(told.reasons) do
      output.line("  ", exit.printable(reason.message), " (", reason.code, ")")
    end
  end)
end

job.result = {
  summary = "what a job returned",
  description = [[
    Prints what a job returned, as JSON (null when it returned nothing). A job that failed, has
    not ended or is not known is an error. With --wait the command waits for the job's end
    first.]],
  usage = "ID [--wait S]",
  arguments = { ID },
  options = {
    { "--wait", "S", convert = parser.seconds, doc = "wait up to S seconds for the job's end" },
  },
  example = "naq job result 01jd0k3c9m5q8w2x7z4v6b1n3t --wait 30",
}

--- Wait for a job's end if told to, and print its value; ends the command when there is none.
---@param handle naq.Job
---@param seconds? number
function job.print_result(handle, seconds)
  if seconds then
    local done = output.waiting(("waiting up to %g s for job %s"):format(seconds, handle.id))
    local state, message, code = handle:wait(seconds)
    done()
    exit.check(state, message, code)
  end
  local value, message, code = handle:result()
  if code == "JOB_FAILED" then message = ("job %s failed: %s"):format(handle.id, message) end
  output.value(exit.check(value, message, code))
end

function job.result.run(args)
  check_id(args)
  return session.with(args, function(client)
    return job.print_result(exit.check(client:job(args.id)), args.wait)
  end)
end

job.cancel = {
  summary = "end a job that waits or runs",
  description = [[
    Ends a job: one that waits (on its queue, for its time, for its next attempt) never runs; one that
    runs is stopped within 100 ms, or gets 5 seconds to tidy up when it asks job:cancelled(). A job that
    was cancelled already is fine; one that has completed or failed is refused.]],
  usage = "ID",
  arguments = { ID },
  example = "naq job cancel 01jd0k3c9m5q8w2x7z4v6b1n3t",
}

function job.cancel.run(args)
  check_id(args)
  return session.with(args, function(client)
    exit.check(exit.check(client:job(args.id)):cancel())
    if args.json then
      output.object({ "id", "cancelled" }, { id = args.id, cancelled = true })
    else
      output.line(args.id, ": cancelled")
    end
  end)
end

job.retry = {
  summary = "run a job again",
  description = [[
    Runs a job again: one that failed from the start, with all its retries and its history kept; a
    retry that waits for its time at once; a cancelled one if what it was given is still there. Any
    other job is refused.]],
  usage = "ID",
  arguments = { ID },
  example = "naq job retry 01jd0k3c9m5q8w2x7z4v6b1n3t",
}

function job.retry.run(args)
  check_id(args)
  return session.with(args, function(client)
    exit.check(exit.check(client:job(args.id)):retry())
    if args.json then
      output.object({ "id", "retried" }, { id = args.id, retried = true })
    else
      output.line(args.id, ": retried")
    end
  end)
end

return job
