-- `naq workers`: who is there to run jobs.

local core = require("naq.core")
local exit = require("naq.cli.exit")
local output = require("naq.cli.output")
local session = require("naq.cli.session")

local workers = {
  description = [[
    Lists the live workers: where they run, which queues they serve, what they run now and when
    they were last heard of. One that has missed its heartbeats is marked stale: it is dead,
    frozen or cut off. Below them stands the scheduler that leads: it fires schedules and delayed jobs.]],
  example = "naq workers",
}

-- The members of --json, in this order.
local KEYS = {
  "id", "host", "pid", "state", "queues", "threads", "running", "done", "failed", "started_at",
  "seen_at", "stale", "memory", "version", "leads_since",
}

local function number(name)
  return function(row) return row[name] and ("%d"):format(row[name]) end
end

local function memory(row) return row.memory and ("%.0f MB"):format(row.memory / 2 ^ 20) end

local function state(row) return row.stale and "stale" or row.state end

local function queues(row) return table.concat(row.queues or {}, ",") end

local function style(row) return row.stale and "red" or row.state == "busy" and "green" or nil end

local COLUMNS = {
  { title = "WORKER", value = function(row) return row.id end, cut = true },
  { title = "STATE", value = state, style = style },
  { title = "QUEUES", value = queues, cut = true },
  { title = "THREADS", value = number("threads"), right = true },
  { title = "RUNNING", value = function(row) return #(row.running or {}) end, right = true },
  { title = "DONE", value = number("done"), right = true },
  { title = "FAILED", value = number("failed"), right = true },
  { title = "MEMORY", value = memory, right = true },
  { title = "SEEN", value = function(row) return row.seen end },
}

function workers.run(args)
  return session.with(args, function(client)
    local list = exit.check(client:workers())
    local leader, message, code = client:leader()
    if message then exit.fail(message, code) end
    for _, row in ipairs(list) do
      row.leads_since = leader and leader.leader == row.id and leader.since or nil
    end
    if args.json then
      for _, row in ipairs(list) do
        output.object(KEYS, row)
      end
    elseif #list == 0 then
      output.line("no worker is running; start one with: naq worker --jobs FILE")
    else
      local now = core.now()
      for _, row in ipairs(list) do
        row.seen = row.seen_at and output.duration(math.max(now - row.seen_at, 0)) .. " ago"
      end
      output.table(COLUMNS, list)
    end
    if not args.json then
      output.line(leader and ("scheduler: %s leads, for %s"):format(leader.leader,
        output.duration(math.max(core.now() - leader.since, 0))) or "scheduler: none leads")
    end
    local overdue = leader and {} or exit.check(client:overdue_schedules())
    if #overdue > 0 then
      io.stderr:write("naq: overdue, since no scheduler leads: schedule ", table.concat(overdue, ", "), "\n")
    end
  end)
end

return workers
