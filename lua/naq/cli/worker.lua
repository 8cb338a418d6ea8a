-- `naq worker`: serves queues until told to stop. On the way to the first job every module counts:
-- this file requires what it needs where it needs it.

local exit = require("naq.cli.exit")
local parser = require("naq.cli.parser")
local session = require("naq.cli.session")

local worker = {
  description = [[
    Runs the jobs on the queues until SIGINT or SIGTERM; then it finishes what is running, gives
    back the rest and exits. A second signal stops at once: those jobs run again elsewhere.
    SIGHUP reloads the job files; SIGTSTP makes it take no more jobs, SIGCONT go on. A job file
    defines jobs with naq.job("name", function(args, job) ... end); a file below a -m directory
    that returns one function is a job named by its path.]],
  usage = "[QUEUE...] --jobs FILE... [-m DIR]... [-c N] [--burst]",
  arguments = {
    { "queue", args = "*", doc = "the queues to serve (default: $NAQ_DEFAULT_QUEUE, or default)" },
  },
  options = {
    { "--jobs", "FILE", args = "+", count = "*", doc = "job files; may be given again" },
    { "-m --modules", "DIR", count = "*",
      doc = "directory of one-function job files; may be given again" },
    { "-c --concurrency", "N", convert = parser.count,
      doc = "threads: how many jobs run at the same time (default: one a core)" },
    { "-n --name", "NAME",
      doc = "the worker's name, the first part of its id (default: the host's name)" },
    { "--burst", doc = "exit when nothing is pending or running" },
    { "--no-scheduler", doc = "leave out the scheduler that runs beside the jobs" },
    { "--max-jobs", "N", convert = parser.count, doc = "exit after N jobs" },
    { "--with-server", doc = "start a local server beside the worker, with a temporary store" },
  },
  example = [[naq worker images mail --jobs jobs.lua -c 8
naq worker --jobs jobs.lua --burst]],
}

-- `--jobs a.lua b.lua mail`: words behind the first are files as well, unless they cannot be told
-- from a queue's name, which has neither a dot nor a slash.
local function files_and_queues(args)
  local files, queues = {}, args.queue
  for _, words in ipairs(args.jobs) do
    for i, word in ipairs(words) do
      local list = (i == 1 or word:find("[./]")) and files or queues
      list[#list + 1] = word
    end
  end
  return files, queues
end

function worker.run(args)
  local files, queues = files_and_queues(args)
  if #files == 0 and #args.modules == 0 then
    exit.usage("which jobs? name a job file with --jobs FILE or a directory of them with -m DIR",
      args.command)
  end
  local stop = session.beside(args)
  local options = session.options(args)
  options.queues = #queues > 0 and queues or nil
  options.files, options.dirs = files, args.modules
  options.concurrency, options.name = args.concurrency, args.name
  options.burst, options.max_jobs = args.burst, args.max_jobs
  options.handle_signals = true
  if args.no_scheduler then options.scheduler = false end
  -- The parser is not needed any more, and a worker lives long.
  package.loaded.argparse = nil
  collectgarbage()

  local ok, status = xpcall(worker.serve, exit.trace, args, options)
  stop()
  if not ok then error(status, 0) end
  return status
end

function worker.serve(args, options)
  local new = require("naq.worker").new
  local running, message, code = exit.guard(args.command, new, options)
  if not running then session.unreachable(args, message, code) end
  local summary
  summary, message, code = running:run()
  -- The last acks are still in a buffer, and os.exit closes nothing.
  running:close()
  exit.check(summary, message, code)
  local output = require("naq.cli.output")
  if args.json then
    output.object({ "done", "failed", "retried", "stopped" }, summary)
  elseif args.burst or args.max_jobs then
    output.line(("%d jobs done, %d of them failed; %d attempts to be retried"):format(
      summary.done, summary.failed, summary.retried))
  end
  return summary.stopped == "killed" and exit.FAILED or exit.OK
end

return worker
