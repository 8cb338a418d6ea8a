-- connections.lua -- what bench/connections starts: every operation, taken in every form, in one thread and
-- in sixteen. The server is up, the programs are built.
local report = require("report")
local sections = require("sections")

local URL = os.getenv("NAQ_BENCH_URL")
local BASELINE, THREADS = os.getenv("NAQ_BENCH_BASELINE"), os.getenv("NAQ_BENCH_THREADS")
local MONITOR = os.getenv("NAQ_BENCH_MONITOR")

local OPS = {
  { "publish", "publish one message, acked" },
  { "stream", "look at a stream" },
  { "kv", "open a bucket, read a key" },
  { "many", "publish 100 messages, acked" },
}

-- In the table's order. `share`: how many operations, of those that a form with a pool does.
local FORMS = {
  { "connect", "connect for each, plain C", share = 0.1 },
  { "by_hand", "pool, opened and closed" },
  { "scoped", "pool, with_jetstream" },
  { "injected", "pool, uses_jetstream" },
  { "held", "one connection held" },
}

local function usage(message)
  io.stderr:write("bench/connections: ", message, "; see bench/connections --help\n")
  os.exit(2)
end

local total, rounds, results = 3200, 5, nil
do
  local i = 1
  while arg[i] do
    if arg[i] == "--quick" then
      total, rounds = 960, 1
    elseif arg[i] == "--results" then
      i = i + 1
      results = arg[i] or usage("--results needs a file name")
    else
      usage("unknown option " .. arg[i])
    end
    i = i + 1
  end
end

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  if not pipe:close() then error(command .. ":\n" .. text, 0) end
  return text
end

-- How many connections the server has taken since it started.
local function server_count()
  local host, port = MONITOR:match("^http://([%d.]+):(%d+)")
  local ask = [[bash -c 'exec 3<>/dev/tcp/%s/%s; printf "GET /varz HTTP/1.0\r\n\r\n" >&3; cat <&3']]
  return tonumber(output_of(ask:format(host, port)):match('"total_connections":%s*(%d+)'))
end

local function measure(form, op, threads)
  local n = math.max(1, math.floor(total * (form.share or 1) / threads * (op == "many" and 0.1 or 1)))
  local command
  if form[1] == "connect" then
    command = ("%s connect url=%s op=%s n=%d threads=%d"):format(BASELINE, URL, op, n, threads)
  else
    command = ("%s %d %d bench/programs/connections.lua %s %s %s")
      :format(THREADS, threads, n, URL, form[1], op)
  end
  local before = server_count()
  local text = output_of(command)
  local seconds, grown = text:match("seconds=(%S+) grown_kb=(%S+)")
  if not seconds then error(command .. ":\n" .. text, 0) end
  return {
    us = tonumber(seconds) * 1e6 / (n * threads),
    operations = n * threads,
    connections = server_count() - before,
    grown_kb = tonumber(grown),
  }
end

-- The forms in turn, round by round: whatever drifts meets all of them alike. The one with the median time
-- stands for its form.
local function measure_all(op, threads)
  local taken = {}
  for _ = 1, rounds do
    for i, form in ipairs(FORMS) do
      taken[i] = taken[i] or {}
      table.insert(taken[i], measure(form, op, threads))
    end
  end
  for i, list in ipairs(taken) do
    table.sort(list, function(a, b) return a.us < b.us end)
    taken[i] = list[(#list + 1) // 2]
    taken[i].least, taken[i].most = list[1].us, list[#list].us
  end
  return taken
end

local HEAD = { "operation", "threads", "form", "µs each", "operations", "connections", "memory grew by" }

local function figure(x) return (x >= 100 and "%.0f" or "%.1f"):format(x) end

local function cells(op, threads, form, got)
  local each = figure(got.us)
  if rounds > 1 then each = ("%s (%s..%s)"):format(each, figure(got.least), figure(got.most)) end
  return {
    op[2], tostring(threads), form[2], each, tostring(got.operations), tostring(got.connections),
    ("%.1f MB"):format(got.grown_kb / 1024),
  }
end

output_of(("%s 1 1 bench/programs/connections.lua %s prepare publish"):format(THREADS, URL))
local rows = {}
for _, op in ipairs(OPS) do
  for _, threads in ipairs({ 1, 16 }) do
    for i, got in ipairs(measure_all(op[1], threads)) do
      rows[#rows + 1] = cells(op, threads, FORMS[i], got)
      io.stderr:write(table.concat(rows[#rows], " | "), "\n")
    end
  end
end

io.write("\n")
report.plain(io.stdout, HEAD, rows)
if results then
  local said = ([[

Microseconds each: median (least..most) of %d rounds, the forms in turn. `connections` is the
server's count for all operations of a row. Memory: from just before the first connection to the
largest the process ever was; the code was loaded before.

]]):format(rounds)
  local text = { "\n## Connections\n\n", report.origin(), "\n", said, report.markdown(HEAD, rows), "\n" }
  sections.write(results, "connections", "bench/connections --results", table.concat(text))
end
