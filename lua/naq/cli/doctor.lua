-- `naq doctor`: is everything there that naq needs, and as it should be? checks.lua looks; this
-- file shows what it saw.

local core = require("naq.core")
local checks = require("naq.cli.checks")
local exit = require("naq.cli.exit")
local output = require("naq.cli.output")
local session = require("naq.cli.session")

local doctor = {
  description = [[
    Checks the server, JetStream, naq's streams and buckets, the clock and the libraries, and
    counts the workers, and says which scheduler leads. An empty server is fine; the exit status
    is 1 only when there are problems, and each is named.]],
  example = "naq doctor -u nats://127.0.0.1:4222",
}

-- The members of --json, in this order.
local KEYS = {
  "ok", "server", "jetstream", "streams", "scheduler", "workers", "stale_workers", "connections",
  "versions", "problems",
}

local function bytes(n)
  local units, i = { "B", "KB", "MB", "GB", "TB" }, 1
  while n >= 1000 and i < #units do
    n, i = n / 1000, i + 1
  end
  return ("%.3g %s"):format(n, units[i])
end

local function describe_server(server)
  local cluster = server.cluster and ", cluster " .. server.cluster or ""
  return ("%s, nats-server %s%s"):format(server.url or "?", server.version or "?", cluster)
end

local function describe_clock(difference)
  if not difference then return nil end
  local side = difference > 0 and "behind" or "ahead of"
  return ("%s %s the server's"):format(output.duration(math.abs(difference)), side)
end

local function describe_jetstream(info)
  if not info.enabled then return "not enabled" end
  local of = info.max_storage and " of " .. bytes(info.max_storage) or ""
  return ("%d streams, %d consumers, %s%s stored"):format(
    info.streams, info.consumers, bytes(info.storage), of)
end

local function describe_workers(report)
  if not report.workers then return nil end
  local stale = report.stale_workers > 0 and (", %d stale"):format(report.stale_workers) or ""
  return report.workers .. stale
end

local function describe_scheduler(report)
  local scheduler = report.scheduler
  if not scheduler then return report.workers and "none leads" or nil end
  return ("%s leads, for %s"):format(scheduler.leader, output.duration(core.now() - scheduler.since))
end

local function describe_versions(versions)
  local parts = { "naq " .. versions.naq, "Lua " .. versions.lua }
  for _, name in ipairs({ "libnats", "cjson" }) do
    if versions[name] then parts[#parts + 1] = name .. " " .. versions[name] end
  end
  return table.concat(parts, ", ")
end

local function describe_connections(numbers)
  local time = numbers.mean_connect_time and " in " .. output.duration(numbers.mean_connect_time) or ""
  return ("%d opened%s, %d in use, %d failed, %d reconnects"):format(
    numbers.opened, time, numbers.active, numbers.failed, numbers.reconnects)
end

local STYLES = { ok = "green", missing = "dim", differs = "red" }

local STREAM_COLUMNS = {
  { title = "STREAM", value = function(row) return row.name end, cut = true },
  {
    title = "STATE",
    value = function(row) return row.state == "missing" and "not yet" or row.state end,
    style = function(row) return STYLES[row.state] end,
  },
  { title = "MESSAGES", value = function(row) return row.messages end, right = true },
  { title = "SIZE", value = function(row) return row.bytes and bytes(row.bytes) end, right = true },
}

local function print_report(report)
  output.fields({
    { "server", describe_server(report.server) },
    { "round trip", output.duration(report.server.rtt) },
    { "clock", describe_clock(report.server.clock_difference) },
    { "jetstream", describe_jetstream(report.jetstream) },
    { "workers", describe_workers(report) },
    { "scheduler", describe_scheduler(report) },
    { "connections", describe_connections(report.connections) },
    { "versions", describe_versions(report.versions) },
  })
  if #report.streams > 0 then
    output.line()
    output.table(STREAM_COLUMNS, report.streams)
  end
  output.line()
  for _, text in ipairs(report.problems) do
    output.line(output.style("problem", "red"), "  ", text)
  end
  if report.ok then output.line(output.style("no problems", "green")) end
end

function doctor.run(args)
  return session.with(args, function(client)
    local report = { problems = core.array({}), streams = core.array({}) }
    checks.server(client, report)
    checks.versions(report)
    if checks.jetstream(client, report) then
      checks.streams(client, report)
      checks.clock(client, report)
      checks.workers(client, report)
      checks.scheduler(client, report)
    end
    checks.connections(report)
    report.ok = #report.problems == 0
    if args.json then
      output.object(KEYS, report)
    else
      print_report(report)
    end
    return report.ok and exit.OK or exit.FAILED
  end)
end

return doctor
