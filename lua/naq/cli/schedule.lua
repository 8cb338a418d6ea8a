-- `naq schedule`: recurring schedules: `list` them, `add` one, `show`, `modify`, `pause`, `resume`, `cancel`
-- or `run` it. `next` shows the times of a cron expression, without a server.

local core = require("naq.core")
local exit = require("naq.cli.exit")
local moment = require("naq.cli.moment")
local output = require("naq.cli.output")
local parser = require("naq.cli.parser")
local session = require("naq.cli.session")

local schedule = {}

-- The members of --json, in this order.
local KEYS = {
  "id", "job", "queue", "state", "cron", "interval", "timezone", "next_run", "last_run", "last_job",
  "last_state", "runs", "remaining", "skipped", "error",
}
local SHOWN = {
  "id", "job", "queue", "priority", "state", "cron", "interval", "timezone", "repeat", "starts_at", "ends_at",
  "jitter", "overlap", "misfire", "next_run", "last_run", "last_job", "last_state", "runs", "remaining",
  "skipped", "file", "created_at", "modified_at", "error", "args",
}

local STYLES = { active = "green", failed = "red", paused = "yellow" }

local function style(row) return STYLES[row.state] end

local function timing(row)
  if row.interval then return ("every %g s"):format(row.interval) end
  return row.cron and row.cron .. (row.timezone and " " .. row.timezone or "")
end

local function problem(row)
  if not row.error then return nil end
  return ("%s: %s"):format(row.error.code or "?", row.error.message or "?")
end

local function runs(row)
  if row.runs == nil then return nil end
  return row.remaining and ("%d, %d left"):format(row.runs, row.remaining) or ("%d"):format(row.runs)
end

local COLUMNS = {
  { title = "ID", value = function(row) return row.id end },
  { title = "JOB", value = function(row) return row.job end, cut = true },
  { title = "QUEUE", value = function(row) return row.queue end, cut = true },
  { title = "STATE", value = function(row) return row.state end, style = style },
  { title = "WHEN", value = timing, cut = true },
  { title = "NEXT RUN", value = function(row) return output.time(row.next_run) end },
  { title = "LAST RUN", value = function(row) return output.time(row.last_run) end },
  { title = "LAST STATE", value = function(row) return row.last_state end },
  { title = "RUNS", value = runs },
}

local function print_row(args, row)
  if args.json then return output.object(SHOWN, row) end
  output.fields({
    { "id", row.id },
    { "job", row.job },
    { "queue", row.queue },
    { "priority", row.priority },
    { "state", row.state, style = style(row) },
    { "error", problem(row), style = "red" },
    { "when", timing(row) },
    { "starts", output.time(row.starts_at) },
    { "ends", output.time(row.ends_at) },
    { "jitter", output.duration(row.jitter) },
    { "overlap", row.overlap },
    { "misfire", row.misfire },
    { "next run", output.time(row.next_run) },
    { "last run", output.time(row.last_run) },
    { "last job", row.last_job },
    { "last state", row.last_state },
    { "runs", runs(row) },
    { "left out", row.skipped and ("%d"):format(row.skipped) },
    { "file", row.file },
    { "args", row.args ~= nil and exit.check(core.encode(row.args)) or nil },
  })
end

schedule.list = {
  summary = "all schedules: when they run, how the last run ended",
  description = [[
    Lists the recurring schedules with their next run, their last one, and what became of it.]],
  usage = "[--state STATE]",
  options = {
    { "--state", "STATE", choices = { "active", "paused", "failed", "finished", "cancelled" },
      doc = "only these: active, paused, failed, finished or cancelled" },
  },
  example = "naq schedule list --state failed",
}

function schedule.list.run(args)
  return session.with(args, function(client)
    local rows = {}
    for _, row in ipairs(exit.check(client:schedules())) do
      if not args.state or row.state == args.state then rows[#rows + 1] = row end
    end
    if args.json then
      for _, row in ipairs(rows) do
        output.object(KEYS, row)
      end
    elseif #rows == 0 then
      output.line("no schedules")
    else
      output.table(COLUMNS, rows)
    end
  end)
end

local ID = { "id", doc = "the schedule's id" }

local DEFINITION = {
  { "--job", "JOB", doc = "the job that it runs" },
  { "--args", "JSON", doc = "what the job gets" },
  { "-q --queue", "QUEUE", doc = "the queue of its runs" },
  { "--cron", "E", doc = "when: a cron expression" },
  { "--timezone", "Z", doc = "the zone of its fields, as Europe/Berlin (default: UTC)" },
  { "--interval", "S", convert = parser.seconds, doc = "instead: every S seconds" },
  { "--repeat", "N", convert = parser.count, doc = "finished after N runs" },
  { "--opts", "JSON", doc = "further options, an object: starts_at, ends_at, jitter, overlap, misfire, "
    .. "enabled, priority, max_retries, ..." },
}

local function decode(text, option, command)
  local value, message = core.decode(text)
  if value == nil then exit.usage(("%s is not JSON: %s"):format(option, message), command) end
  return value
end

-- What the options say, as the library takes it.
local function definition_of(args)
  local definition = args.opts and decode(args.opts, "--opts", args.command) or {}
  if type(definition) ~= "table" or definition[1] ~= nil then
    exit.usage("--opts is not a JSON object", args.command)
  end
  for _, name in ipairs({ "job", "queue", "cron", "timezone", "interval", "repeat" }) do
    if args[name] ~= nil then definition[name] = args[name] end
  end
  if args.args then definition.args = decode(args.args, "--args", args.command) end
  return definition
end

local SYNTAX = "[-q QUEUE] (--cron E [--timezone Z] | --interval S) [--repeat N] [--opts JSON]"

schedule.add = {
  summary = "a new schedule",
  description = [[
    Creates a recurring schedule. Each of its runs is a job of its own, put on the queue by whichever
    scheduler leads: one runs inside every worker.]],
  usage = "ID --job JOB [--args JSON] " .. SYNTAX,
  arguments = { ID },
  options = DEFINITION,
  example = [[naq schedule add nightly --job report --cron "0 3 * * *" --timezone Europe/Berlin
naq schedule add poll --job fetch --interval 30 --opts '{"overlap":"skip"}']],
}

function schedule.add.run(args)
  local definition = definition_of(args)
  return session.with(args, function(client)
    local made = exit.check(exit.guard(args.command, client.schedule, client, args.id, definition))
    print_row(args, exit.check(made:info()))
  end)
end

local function on_one(args, fn)
  return session.with(args, function(client)
    local found = exit.check(exit.guard(args.command, client.schedule, client, args.id))
    return fn(found)
  end)
end

schedule.show = {
  summary = "one schedule",
  description = "Prints everything about a schedule, and the jobs of its latest runs.",
  usage = "ID",
  arguments = { ID },
  example = "naq schedule show nightly",
}

function schedule.show.run(args)
  return on_one(args, function(found)
    print_row(args, exit.check(found:info()))
    if args.json then return end
    local ids = {}
    for i, job in ipairs(exit.check(found:runs())) do
      ids[i] = "  " .. job.id
    end
    if #ids > 0 then output.line("latest runs:\n", table.concat(ids, "\n")) end
  end)
end

schedule.modify = {
  summary = "change a schedule",
  description = [[
    Changes what is given and leaves the rest; null in --opts unsets. --cron and --interval replace
    each other, and the next run is computed anew. When somebody else changes the schedule at the
    same time, one of you is told (WRONG_REVISION).]],
  usage = "ID [--job JOB] [--args JSON] " .. SYNTAX,
  arguments = { ID },
  options = DEFINITION,
  example = [[naq schedule modify nightly --cron "0 4 * * *"]],
}

function schedule.modify.run(args)
  local changes = definition_of(args)
  if next(changes) == nil then exit.usage("what is to be changed?", args.command) end
  return on_one(args, function(found)
    exit.check(exit.guard(args.command, found.modify, found, changes))
    print_row(args, exit.check(found:info()))
  end)
end

local function simple(method, summary, description)
  return {
    summary = summary,
    description = description,
    usage = "ID",
    arguments = { ID },
    example = ("naq schedule %s nightly"):format(method),
    run = function(args)
      return on_one(args, function(found)
        local row = exit.check(found[method](found))
        if args.json then return output.object(KEYS, row) end
        output.line(("%s: %s"):format(row.id, row.state))
      end)
    end,
  }
end

schedule.pause = simple("pause", "no run until it is resumed", [[
    The schedule rests until `naq schedule resume`. Runs that are on their queue stay there.]])
schedule.resume = simple("resume", "go on, from now", [[
    A paused schedule goes on, and so does one that had failed. What it missed meanwhile is gone.]])

schedule.cancel = {
  summary = "end a schedule for good",
  description = [[
    Ends a schedule. It stays in the list as cancelled, so that a job file which declares it does not
    bring it back; with --delete nothing of it stays. Runs that are on their queue stay there.]],
  usage = "ID [--delete]",
  arguments = { ID },
  options = { { "--delete", doc = "remove its record, too" } },
  example = "naq schedule cancel nightly",
}

function schedule.cancel.run(args)
  return on_one(args, function(found)
    local row = exit.check(found:cancel())
    if args.delete then exit.check(found:delete()) end
    if args.json then return output.object(KEYS, row) end
    output.line(("%s: %s"):format(row.id, args.delete and "deleted" or row.state))
  end)
end

schedule.run = {
  summary = "run it now, once more",
  description = "Puts a run on the queue at once and prints its job's id. Its next run stays as it is.",
  usage = "ID",
  arguments = { ID },
  example = "naq schedule run nightly",
}

function schedule.run.run(args)
  return on_one(args, function(found)
    local job = exit.check(found:run())
    if args.json then return output.object({ "id" }, job) end
    output.line(job.id)
  end)
end

-- What job-control takes for `reschedule`, by the names of the library.
local CHANGES = { "cron", "timezone", "interval", "repeat", "next_run" }

--- `naq job-control ID ACTION`: the Python library's way to say it.
schedule.control = {
  description = [[
    What the Python library calls so: `naq schedule cancel`, `pause`, `resume`, and with `reschedule`
    another time: of a schedule its cron expression, interval, number of runs or next run. A job that
    waits for its time can be cancelled, and moved with --next-run.]],
  usage = "ID cancel|pause|resume|reschedule [--cron E [--timezone Z] | --interval S] [--repeat N] "
    .. "[--next-run T]",
  arguments = {
    ID,
    { "action", choices = { "cancel", "pause", "resume", "reschedule" },
      doc = "cancel, pause, resume or reschedule" },
  },
  options = {
    { "--cron", "E", doc = "when: a cron expression" },
    { "--timezone", "Z", doc = "the zone of its fields" },
    { "--interval", "S", convert = parser.seconds, doc = "instead: every S seconds" },
    { "--repeat", "N", convert = parser.count, doc = "finished after N runs" },
    { "--next-run", "T", convert = moment.point, doc = "the next run, or the job's time: epoch seconds or "
      .. "ISO 8601, without a zone UTC" },
  },
  example = [[naq job-control nightly pause
naq job-control nightly reschedule --cron "0 4 * * *"
naq job-control 01jd0k3c9m5q8w2x7z4v6b1n3t reschedule --next-run 2026-12-24T18:00:00Z]],
}

-- A schedule's row, or the id of a job.
local function print_controlled(args, done, what)
  if done ~= true then
    if args.json then return output.object(KEYS, done) end
    output.line(("%s: %s"):format(done.id, done.state))
  elseif args.json then
    output.object({ "id", what }, { id = args.id, [what] = true })
  else
    output.line(("%s: %s"):format(args.id, what))
  end
end

function schedule.control.run(args)
  local changes, scheduled = {}, require("naq.scheduled")
  for _, name in ipairs(CHANGES) do
    changes[name] = args[name]
  end
  local wanted = args.action == "reschedule"
  if wanted and not next(changes) then
    exit.usage("reschedule: to what? --cron, --interval, --repeat or --next-run", args.command)
  end
  if not wanted and next(changes) then exit.usage("a time is for reschedule", args.command) end
  if args.action == "pause" or args.action == "resume" then return schedule[args.action].run(args) end
  return session.with(args, function(client)
    if wanted then
      local done = exit.check(exit.guard(args.command, scheduled.modify, client, args.id, changes, 1))
      return print_controlled(args, done, "rescheduled")
    end
    local done = exit.check(exit.guard(args.command, scheduled.cancel, client, args.id, 1))
    return print_controlled(args, done, "cancelled")
  end)
end

schedule.next = {
  summary = "the next times of a cron expression; needs no server",
  description = [[
    Prints when a cron expression matches next, in UTC, strictly after a time. Five fields (minute,
    hour, day, month, weekday), six with seconds first, or @daily and its kin. Where the clocks of the
    zone change, a time that does not exist runs at the moment after the gap, one that comes twice
    runs the first time.]],
  usage = "CRON [--timezone Z] [--from T] [-n N]",
  arguments = { { "cron", doc = "the expression, as one argument" } },
  options = {
    { "--timezone", "Z", doc = "the zone its fields are read in, as Europe/Berlin (default: UTC)" },
    { "--from", "T", convert = moment.point, doc = "times after this one: epoch seconds or ISO 8601, "
      .. "without a zone UTC (default: now)" },
    { "-n --count", "N", convert = parser.count, default = "5", doc = "how many (default: 5)" },
  },
  example = [[naq schedule next "0 3 * * *" --timezone Europe/Berlin -n 3
naq schedule next "@monthly" --from 2026-01-01 --json]],
}

function schedule.next.run(args)
  if args.count > 10000 then exit.usage("-n: at most 10000 times", args.command) end
  local from = args.from or core.now()
  local utc = require("naq.moment").utc
  local times, message = exit.guard(args.command, core.cron_next, args.cron, args.timezone, from, args.count)
  if not times then exit.usage(message, args.command) end
  for i, time in ipairs(times) do
    times[i] = utc(time)
  end
  if args.json then return output.value(core.array(times)) end
  output.line(#times == 0 and "never" or table.concat(times, "\n"))
end

return schedule
