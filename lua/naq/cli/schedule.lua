-- `naq schedule`: recurring schedules. `next` shows the times of a cron expression, without a server.

local core = require("naq.core")
local exit = require("naq.cli.exit")
local moment = require("naq.cli.moment")
local output = require("naq.cli.output")
local parser = require("naq.cli.parser")

local schedule = {}

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
