-- `naq doctor`: is everything there that naq needs, and as it should be? Looks only: creates nothing
-- that stays. What is merely not there yet (an empty server) is no problem.

local core = require("naq.core")
local jetstream = require("naq.jetstream")
local output = require("naq.cli.output")
local session = require("naq.cli.session")

local doctor = {
  description = [[
    Checks the server, JetStream, naq's streams and buckets, the clock and the libraries, and
    counts the workers. An empty server is fine; the exit status is 1 only when there are
    problems, and each is named.]],
  example = "naq doctor -u nats://127.0.0.1:4222",
}

-- Beyond this the times of jobs, and what is delayed, are visibly wrong.
local CLOCK_SECONDS = 1

-- "2026-11-21T04:05:06.123456789Z" as epoch seconds.
local function epoch(text)
  local year, month, day, hour, minute, second = tostring(text):match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$")
  if not year then return nil end
  local y, m = tonumber(year), tonumber(month)
  -- Days since the epoch, counted in years that begin in March so that a leap day comes last.
  if m <= 2 then y = y - 1 end
  local era_day = (153 * ((m + 9) % 12) + 2) // 5 + tonumber(day) - 1
  local days = 365 * y + y // 4 - y // 100 + y // 400 + era_day - 719468
  return days * 86400 + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

-- The server's clock minus ours. It tells the time only with things it makes: here a consumer on a
-- stream that nobody consumes, taken away at once (and forgotten by itself after a second).
local function clock_difference(client)
  local stream = client.prefix .. "_failed"
  local config = { ack_policy = "none", deliver_policy = "new", inactive_threshold = 1000000000, mem_storage = true }
  local before = core.now()
  local made = jetstream.call(client.conn, "CONSUMER.CREATE", stream, { stream_name = stream, config = config })
  local after = core.now()
  if not made then return nil end
  jetstream.call(client.conn, "CONSUMER.DELETE", ("%s.%s"):format(stream, made.name))
  local theirs = epoch(made.created)
  return theirs and theirs - (before + after) / 2
end

local function check_server(client, report)
  local info, message = client.conn:info()
  if not info then
    report.problems[#report.problems + 1] = "server: " .. message
    report.server = {}
    return
  end
  report.server = {
    url = info.url, name = info.server_name, id = info.server_id, version = info.version,
    cluster = info.cluster, rtt = info.rtt, max_payload = info.max_payload,
  }
end

local function check_jetstream(client, report)
  local answer, message, code = jetstream.call(client.conn, "INFO")
  if not answer then
    report.jetstream = { enabled = false }
    if code == "NO_JETSTREAM" then message = "JetStream is not enabled: start nats-server with --jetstream" end
    report.problems[#report.problems + 1] = message
    return false
  end
  local limits = answer.limits or {}
  local function limit(n) return n and n >= 0 and n or nil end
  report.jetstream = {
    enabled = true, domain = answer.domain, streams = answer.streams, consumers = answer.consumers,
    memory = answer.memory, storage = answer.storage,
    max_memory = limit(limits.max_memory), max_storage = limit(limits.max_storage),
  }
  local most = report.jetstream.max_storage
  if most and most > 0 and answer.storage > 0.9 * most then
    report.problems[#report.problems + 1] = ("JetStream's storage is %d %% full"):format(100 * answer.storage // most)
  end
  return true
end

-- The streams that exist, by name.
local function existing(client)
  local found, offset = {}, 0
  repeat
    local page, message = jetstream.call(client.conn, "STREAM.LIST", nil, { offset = offset })
    if not page then return nil, message end
    local streams = page.streams or {}
    for i = 1, #streams do
      found[streams[i].config.name] = streams[i]
    end
    offset = offset + #streams
  until #streams == 0 or offset >= page.total
  return found
end

local function check_streams(client, report)
  local found, message = existing(client)
  if not found then
    report.problems[#report.problems + 1] = "streams: " .. message
    return
  end
  local layout, why = client.conn:ensure_layout({
    prefix = client.prefix, worker_ttl = client.config.workers.ttl, dry_run = true,
  })
  local state = {}
  if not layout then report.problems[#report.problems + 1] = why end
  for _, name in ipairs(layout and layout.created or {}) do
    state[name] = "missing"
  end
  for name in pairs(found) do
    local short = name:gsub("^KV_", "")
    if short:sub(1, #client.prefix + 1) == client.prefix .. "_" and not state[name] then state[name] = "ok" end
  end
  for _, text in ipairs(layout and layout.differs or {}) do
    report.problems[#report.problems + 1] = text
    for name in pairs(state) do
      if text:find(name, 1, true) then state[name] = "differs" end
    end
  end
  for name, how in pairs(state) do
    local stream = found[name]
    report.streams[#report.streams + 1] = {
      name = name, state = how, messages = stream and stream.state.messages, bytes = stream and stream.state.bytes,
    }
  end
  table.sort(report.streams, function(a, b) return a.name < b.name end)
end

local function check_clock(client, report)
  local difference = clock_difference(client)
  report.server.clock_difference = difference
  if difference and math.abs(difference) > CLOCK_SECONDS then
    report.problems[#report.problems + 1] = ("this machine's clock is %.1f s %s the server's"):format(
      math.abs(difference), difference > 0 and "behind" or "ahead of")
  end
end

local function check_workers(client, report)
  local list, message = require("naq.workers").list(client.conn, client.prefix)
  if not list then
    report.problems[#report.problems + 1] = "workers: " .. message
    return
  end
  report.workers, report.stale = 0, 0
  for _, worker in ipairs(list) do
    local key = worker.stale and "stale" or "workers"
    report[key] = report[key] + 1
  end
end

local function libraries()
  local ok, cjson = pcall(require, "cjson")
  return {
    naq = require("naq.version"), lua = _VERSION:match("%S+$"), libnats = core.LIBNATS,
    cjson = ok and cjson._VERSION or nil,
  }
end

local function bytes(n)
  local units, i = { "B", "KB", "MB", "GB", "TB" }, 1
  while n >= 1000 and i < #units do
    n, i = n / 1000, i + 1
  end
  return (n == math.floor(n) and "%d %s" or "%.1f %s"):format(n == math.floor(n) and n // 1 | 0 or n, units[i])
end

local STYLES = { ok = "green", missing = "dim", differs = "red" }

local function print_streams(streams)
  output.line("\n", output.style("Streams and buckets", "bold"))
  output.table({
    { title = "NAME", value = function(row) return row.name end, cut = true },
    { title = "STATE", value = function(row) return row.state == "missing" and "not yet" or row.state end,
      style = function(row) return STYLES[row.state] end },
    { title = "MESSAGES", value = function(row) return row.messages end, right = true },
    { title = "SIZE", value = function(row) return row.bytes and bytes(row.bytes) end, right = true },
  }, streams)
end

local function describe_jetstream(info)
  if not info.enabled then return "not enabled" end
  return ("%d streams, %d consumers, %s on disk%s"):format(info.streams, info.consumers, bytes(info.storage),
    info.max_storage and " of " .. bytes(info.max_storage) or "")
end

local function print_report(report)
  local server, versions = report.server, report.libraries
  output.fields({
    { "server", ("%s  nats-server %s%s"):format(server.url or "?", server.version or "?",
      server.cluster and server.cluster ~= "" and ", cluster " .. server.cluster or "") },
    { "round trip", output.duration(server.rtt) },
    { "clock", server.clock_difference and ("%s %s"):format(output.duration(math.abs(server.clock_difference)),
      server.clock_difference > 0 and "behind the server's" or "ahead of the server's") },
    { "jetstream", describe_jetstream(report.jetstream) },
    { "workers", report.workers and ("%d%s"):format(report.workers,
      report.stale > 0 and (", and %d stale"):format(report.stale) or "") },
    { "versions", ("naq %s, Lua %s%s%s"):format(versions.naq, versions.lua,
      versions.libnats and ", libnats " .. versions.libnats or "", versions.cjson and ", cjson " .. versions.cjson or "") },
  })
  if #report.streams > 0 then print_streams(report.streams) end
  output.line()
  for _, problem in ipairs(report.problems) do
    output.line(output.style("problem", "red"), "  ", problem)
  end
  if report.ok then output.line(output.style("all is well", "green")) end
end

function doctor.run(args)
  return session.with(args, function(client)
    local report = { problems = core.array({}), streams = core.array({}), libraries = libraries() }
    check_server(client, report)
    if check_jetstream(client, report) then
      check_streams(client, report)
      check_clock(client, report)
      check_workers(client, report)
    end
    report.ok = #report.problems == 0
    if args.json then
      output.object({ "ok", "server", "jetstream", "streams", "workers", "libraries", "problems" }, report)
    else
      print_report(report)
    end
    return report.ok and 0 or 1
  end)
end

return doctor
