-- `naq queue`: queues as a whole: `list` them, count what is on them (`stats`), empty them
-- (`purge`). What concerns single jobs and settings is in queue_control.lua.

local control = require("naq.cli.queue_control")
local exit = require("naq.cli.exit")
local output = require("naq.cli.output")
local session = require("naq.cli.session")

local queue = {}
for name, command in pairs(control) do
  if type(command) == "table" then queue[name] = command end
end

local KEYS = { "queue", "pending", "running", "delayed", "failed", "paused", "workers" }

local function number(name)
  return function(row) return row[name] and ("%d"):format(row[name]) end
end

local function failed_style(row) return (row.failed or 0) > 0 and "red" or nil end

local function workers_style(row)
  return row.workers == 0 and (row.pending or 0) > 0 and "yellow" or nil
end

local COLUMNS = {
  { title = "QUEUE", value = function(row) return row.queue end, cut = true },
  { title = "PENDING", value = number("pending"), right = true },
  { title = "RUNNING", value = number("running"), right = true },
  { title = "DELAYED", value = number("delayed"), right = true },
  { title = "FAILED", value = number("failed"), right = true, style = failed_style },
  {
    title = "PAUSED",
    value = function(row) return row.paused and "yes" or "no" end,
    style = function(row) return row.paused and "yellow" or nil end,
  },
  { title = "WORKERS", value = number("workers"), right = true, style = workers_style },
}

local function print_stats(args, rows)
  if args.json then
    for _, row in ipairs(rows) do
      output.object(KEYS, row)
    end
  elseif #rows == 0 then
    output.line("no queue yet: naq enqueue JOB -q QUEUE makes one")
  else
    output.table(COLUMNS, rows)
  end
end

local function stats_of(client, names, command)
  local rows = {}
  for i, name in ipairs(names) do
    rows[i] = exit.check(control.open(client, name, command):stats())
  end
  return rows
end

queue.list = {
  summary = "all queues and what is on them",
  description = [[
    Lists every queue that a worker has served, that jobs wait on or are delayed for, or that has
    settings, with the number of its jobs that wait, run, are delayed (retries too) and have failed
    for good, and of the workers that serve it.]],
  example = "naq queue list",
}

function queue.list.run(args)
  return session.with(args, function(client)
    print_stats(args, stats_of(client, exit.check(client:queues()), args.command))
  end)
end

queue.stats = {
  summary = "the numbers of some queues",
  description = [[
    Prints for each queue the number of its jobs that wait, run, are delayed (retries too) and
    have failed for good, and of the workers that serve it.]],
  usage = "[QUEUE...]",
  arguments = { { "queue", args = "*", doc = "the queues (default: the default one)" } },
  example = "naq queue stats images mail",
}

function queue.stats.run(args)
  return session.with(args, function(client)
    local names = args.queue
    if #names == 0 then names = { client.config.queues.default } end
    print_stats(args, stats_of(client, names, args.command))
  end)
end

queue.purge = {
  summary = "remove the waiting jobs of some queues",
  description = [[
    Removes every job that waits on the queues. Jobs that run go on; delayed jobs, retries and
    dead letters stay. Asks first on a terminal.]],
  usage = "QUEUE... [--yes]",
  arguments = { { "queue", args = "+", doc = "the queues" } },
  options = { { "-y --yes", doc = "do not ask" } },
  example = "naq queue purge images --yes",
}

function queue.purge.run(args)
  local question = ("Remove all waiting jobs of %s?"):format(table.concat(args.queue, ", "))
  if not args.yes and not output.confirm(question) then
    io.stderr:write("naq: nothing removed\n")
    return exit.FAILED
  end
  return session.with(args, function(client)
    for _, name in ipairs(args.queue) do
      local purged = exit.check(control.open(client, name, args.command):purge())
      if args.json then
        output.object({ "queue", "purged" }, { queue = name, purged = purged })
      else
        output.line(("%s: %d removed"):format(name, purged))
      end
    end
  end)
end

return queue
