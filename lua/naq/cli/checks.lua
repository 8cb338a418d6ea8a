-- checks.lua: what `naq doctor` looks at. Each check adds its part to a report and one sentence to
-- report.problems for each thing that is wrong. Creates nothing that stays; what is merely not yet
-- there (an empty server) is no problem.

local core = require("naq.core")
local jetstream_api = require("naq.jetstream_api")

local checks = {}

-- Beyond this, the times of jobs and of what is delayed are visibly wrong.
local CLOCK_SECONDS = 1
-- Part of JetStream's storage from which on it is worth a word.
local NEARLY_FULL = 0.9

local function problem(report, text) report.problems[#report.problems + 1] = text end

--- The server itself.
function checks.server(client, report)
  local info, message = client.conn:info()
  if not info then
    report.server = {}
    return problem(report, "server: " .. message)
  end
  report.server = {
    url = info.url,
    name = info.server_name,
    id = info.server_id,
    version = info.version,
    cluster = info.cluster ~= "" and info.cluster or nil,
    max_payload = info.max_payload,
    rtt = info.rtt,
  }
end

--- JetStream: enabled at all, and room left.
---@return boolean usable  false: nothing else can be asked
function checks.jetstream(client, report)
  local answer, message, code = jetstream_api.call(client.conn, "INFO")
  if not answer then
    if code == "NO_JETSTREAM" then
      message = "JetStream is not enabled: start nats-server with --jetstream, or enable it for the account"
    end
    report.jetstream = { enabled = false }
    problem(report, message)
    return false
  end
  local limits = answer.limits or {}
  local function limit(n) return n and n > 0 and n or nil end
  report.jetstream = {
    enabled = true,
    domain = answer.domain,
    streams = answer.streams,
    consumers = answer.consumers,
    memory = answer.memory,
    storage = answer.storage,
    max_memory = limit(limits.max_memory),
    max_storage = limit(limits.max_storage),
  }
  local most = report.jetstream.max_storage
  if most and answer.storage > NEARLY_FULL * most then
    problem(report, ("JetStream's storage is %d %% full"):format(100 * answer.storage // most))
  end
  return true
end

-- All streams of the account, by name.
local function existing(client)
  local found, offset = {}, 0
  repeat
    local page, message = jetstream_api.call(client.conn, "STREAM.LIST", nil, { offset = offset })
    if not page then return nil, message end
    local streams = page.streams or {}
    for i = 1, #streams do
      found[streams[i].config.name] = streams[i]
    end
    offset = offset + #streams
  until #streams == 0 or offset >= page.total
  return found
end

-- name -> "ok", "missing" or "differs", of the streams and buckets of docs/wire.md.
local function layout_states(client, found, report)
  local states, prefix = {}, client.prefix .. "_"
  for name in pairs(found) do
    if name:gsub("^KV_", ""):sub(1, #prefix) == prefix then states[name] = "ok" end
  end
  local layout, message = client.conn:ensure_layout({
    prefix = client.prefix,
    replicas = client.config.nats.replicas,
    worker_ttl = client.config.workers.ttl,
    leader_ttl = client.config.scheduler.lock_ttl,
    dry_run = true,
  })
  if not layout then
    problem(report, message)
    return states
  end
  for _, name in ipairs(layout.created) do
    states[name] = "missing"
  end
  for _, text in ipairs(layout.differs) do
    problem(report, text)
    for name in pairs(states) do
      if text:find(name, 1, true) then states[name] = "differs" end
    end
  end
  return states
end

--- The streams and buckets: which are there, as they should be, and how full.
function checks.streams(client, report)
  local found, message = existing(client)
  if not found then return problem(report, "streams: " .. message) end
  for name, state in pairs(layout_states(client, found, report)) do
    local numbers = found[name] and found[name].state or {}
    report.streams[#report.streams + 1] = {
      name = name,
      state = state,
      messages = numbers.messages,
      bytes = numbers.bytes,
    }
  end
  table.sort(report.streams, function(a, b) return a.name < b.name end)
end

-- "2026-11-21T04:05:06.123456789Z" as epoch seconds.
local RFC3339 = "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$"

local function epoch(text)
  local y, m, d, hours, minutes, seconds = tostring(text):match(RFC3339)
  if not y then return nil end
  y, m, d = math.tointeger(tonumber(y)), math.tointeger(tonumber(m)), math.tointeger(tonumber(d))
  -- Years that begin in March, so that a leap day is the last of its year.
  if m <= 2 then y = y - 1 end
  local day_of_year = (153 * ((m + 9) % 12) + 2) // 5 + d - 1
  local days = 365 * y + y // 4 - y // 100 + y // 400 + day_of_year - 719468
  return days * 86400 + tonumber(hours) * 3600 + tonumber(minutes) * 60 + tonumber(seconds)
end

--- The server's clock against ours. A server tells the time only with what it makes: here a
--- consumer on a stream that nobody consumes, removed at once (by the server after a second).
function checks.clock(client, report)
  local stream = client.prefix .. "_failed"
  local config = {
    ack_policy = "none",
    deliver_policy = "new",
    inactive_threshold = 1000000000,
    mem_storage = true,
  }
  local before = core.now()
  local body = { stream_name = stream, config = config }
  local made = jetstream_api.call(client.conn, "CONSUMER.CREATE", stream, body)
  local after = core.now()
  if not made then return end
  jetstream_api.call(client.conn, "CONSUMER.DELETE", ("%s.%s"):format(stream, made.name))
  local theirs = epoch(made.created)
  if not theirs then return end
  local difference = theirs - (before + after) / 2
  report.server.clock_difference = difference
  if math.abs(difference) > CLOCK_SECONDS then
    problem(report, ("this machine's clock is %.1f s %s the server's"):format(
      math.abs(difference), difference > 0 and "behind" or "ahead of"))
  end
end

--- The workers that have a record.
function checks.workers(client, report)
  local list, message = client:workers()
  if not list then return problem(report, "workers: " .. message) end
  report.workers, report.stale_workers = 0, 0
  for _, worker in ipairs(list) do
    local counter = worker.stale and "stale_workers" or "workers"
    report[counter] = report[counter] + 1
  end
end

--- Who releases what is due. Where nobody is there to run jobs either, its absence is no problem.
function checks.scheduler(client, report)
  local leader, message = client:leader()
  if message then return problem(report, "scheduler: " .. message) end
  if leader then
    report.scheduler = { leader = leader.leader, since = leader.since }
    return
  end
  local waiting = 0
  for _, stream in ipairs(report.streams) do
    if stream.name == client.prefix .. "_delayed" then waiting = stream.messages or 0 end
  end
  if waiting > 0 and (report.workers or 0) > 0 then
    local sentence = "no scheduler leads, and %d delayed jobs wait: start naq scheduler, or a worker with one"
    problem(report, sentence:format(waiting))
  end
  local overdue
  overdue, message = client:overdue_schedules()
  if not overdue then return problem(report, "schedules: " .. message) end
  if #overdue > 0 then
    local sentence = "no scheduler leads, and these schedules are overdue: %s"
    problem(report, sentence:format(table.concat(overdue, ", ")))
  end
end

--- The pool of this process: what connecting cost, and whether it had to be tried again.
function checks.connections(report)
  report.connections = core.connection_stats()
  core.array(report.connections.pools)
end

--- What this program is made of.
function checks.versions(report)
  local ok, cjson = pcall(require, "cjson")
  report.versions = {
    naq = core.VERSION,
    lua = _VERSION:match("%S+$"),
    libnats = core.libnats_version(),
    cjson = ok and cjson._VERSION or nil,
  }
end

return checks
