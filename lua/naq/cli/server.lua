-- `naq server`: a local nats-server in the foreground.

local core = require("naq.core")
local exit = require("naq.cli.exit")
local output = require("naq.cli.output")
local parser = require("naq.cli.parser")

local server = {
  description = [[
    Starts nats-server with JetStream on this machine and keeps it in the foreground until
    Ctrl-C: all that naq needs to be tried out and developed with. It listens on 127.0.0.1 only
    and keeps its data in a directory, so jobs are still there after a restart. In production
    run nats-server as a service. $NATS_SERVER names another program than the one on PATH.]],
  usage = "[--store DIR] [-p PORT]",
  options = {
    { "-p --port", "PORT", convert = parser.port, doc = "where it listens (default: 4222)" },
    { "--store", "DIR", doc = "where it keeps its data (default: ~/.naq/server)" },
  },
  example = "naq server --port 4333 --store /tmp/my-store",
}

function server.run(args)
  local local_server = require("naq.cli.local_server")
  local store = args.store or local_server.default_store()
  local running = local_server.start({ port = args.port or 4222, store = store })
  if args.json then
    output.object({ "url", "pid", "store", "log" }, running)
  else
    output.line(("nats-server with JetStream at %s, data in %s; Ctrl-C stops it"):format(
      running.url, store))
  end
  while not core.wait_signal(0.5) do
    local alive, why = running:running()
    if not alive then
      why = why or "its log is " .. running.log
      exit.fail("nats-server ended by itself: " .. why, "CONNECTION", exit.FAILED)
    end
  end
  running:stop()
end

return server
