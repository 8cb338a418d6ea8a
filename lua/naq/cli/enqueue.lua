-- `naq enqueue`: one job onto a queue, and its result when asked to wait.

local exit = require("naq.cli.exit")
local moment = require("naq.cli.moment")
local output = require("naq.cli.output")
local parser = require("naq.cli.parser")
local session = require("naq.cli.session")

local enqueue = {
  description = [[
    Puts one job on a queue and prints its id. With --wait it waits for the end of the job and
    prints what it returned, as JSON; a job that failed is then an error.]],
  usage = "JOB [-q QUEUE] [--args JSON] [--in S] [--at T] [--opts JSON] [--wait S]",
  arguments = { { "job", doc = "name of the job, as a job file defines it" } },
  options = {
    { "-q --queue", "QUEUE", doc = "the queue (default: $NAQ_DEFAULT_QUEUE, or default)" },
    { "--args", "JSON", doc = "what the job gets (default: nothing)" },
    { "--in", "S", convert = parser.seconds, doc = "run it in S seconds" },
    { "--at", "T", convert = moment.point, doc = "run it at that time: epoch seconds or ISO 8601, "
      .. "without a zone UTC" },
    { "--opts", "JSON", doc = "further options of this job, an object: id, priority, max_retries, "
      .. "retry_delay, retry_strategy, result_ttl ..." },
    { "--wait", "S", convert = parser.seconds,
      doc = "wait up to S seconds for the job's end and print its result" },
    { "--with-server", doc = "start a local server beside it, with a temporary store" },
  },
  example = [[naq enqueue resize --args '{"path":"/a.png","width":640}' -q images
naq enqueue resize --args '{"path":"/a.png"}' --opts '{"priority":"high"}' --wait 10]],
}

local function decode(text, option, command)
  if text == nil then return nil end
  local value, message = require("naq.core").decode(text)
  if value == nil then exit.usage(("%s is not JSON: %s"):format(option, message), command) end
  return value
end

function enqueue.run(args)
  local job_args = decode(args.args, "--args", args.command)
  local opts = decode(args.opts, "--opts", args.command) or {}
  if type(opts) ~= "table" or opts[1] ~= nil then exit.usage("--opts is not a JSON object", args.command) end
  if args["in"] and args.at then exit.usage("either --in or --at", args.command) end
  opts.queue = args.queue or opts.queue
  opts.delay, opts.at = args["in"] or opts.delay, args.at or opts.at
  local stop = session.beside(args)
  local ok, status = xpcall(session.with, exit.trace, args, function(client)
    local put = client.enqueue
    local job = exit.check(exit.guard(args.command, put, client, args.job, job_args, opts))
    if args.wait then return require("naq.cli.job").print_result(job, args.wait) end
    if args.json then
      output.object({ "id" }, job)
    else
      output.line(job.id)
    end
  end)
  stop()
  if not ok then error(status, 0) end
  return status
end

return enqueue
