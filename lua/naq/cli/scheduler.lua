-- `naq scheduler`: fires schedules and delayed jobs in a process of its own, until told to stop.

local exit = require("naq.cli.exit")
local session = require("naq.cli.session")

local scheduler = {
  description = [[
    Puts the runs of schedules, delayed jobs and retries on their queues when they are due, in a
    process of its own. Every `naq worker` does the same beside its jobs, so this is for systems
    that want it apart. Any number may run, in workers or by themselves: one of them leads, and
    when it ends or dies another takes over. Runs until SIGINT or SIGTERM.]],
  usage = "[-i ID] [--disable-ha]",
  options = {
    { "-i --id", "ID", doc = "its name where the leader is shown (default: host and process)" },
    { "--disable-ha", doc = "run alone: refuse to start while another scheduler leads" },
  },
  example = "naq scheduler -i scheduler-1",
}

function scheduler.run(args)
  local core = require("naq.core")
  local options = session.options(args)
  options.id, options.alone = args.id, args.disable_ha
  local new = require("naq.scheduler").new
  local running, message, code = exit.guard(args.command, new, options)
  if not running then session.unreachable(args, message, code) end
  core.wait_signal()
  running:close()
end

return scheduler
