-- scheduler.lua -- what bench/scheduler starts. The server is up, the programs are built.
local measure = require("measure")
local report = require("report")
local sections = require("sections")

local DAY = 86400
local many, rate, seconds, idle, results = 1000000, 5000, 30, 20, nil
do
  local i = 1
  while arg[i] do
    if arg[i] == "--quick" then
      many, seconds, idle = 100000, 10, 5
    elseif arg[i] == "--results" then
      i = i + 1
      results = arg[i]
    end
    if not arg[i] or arg[i]:find("^%-%-") and arg[i] ~= "--quick" then
      io.stderr:write("bench/scheduler: see bench/scheduler --help\n")
      os.exit(2)
    end
    i = i + 1
  end
end
local BURST = 100000

local HEAD = { "what", "measured", "compared with", "ratio", "target", "" }
local rows = {}

local function row(what, measured, compared, ratio, target, ok)
  rows[#rows + 1] = { what, measured, compared or "", ratio and ("%.2f"):format(ratio) or "", target or "",
    ok == nil and "" or ok and "ok" or "MISSED" }
  io.stderr:write("   ", table.concat(rows[#rows], " | "), "\n")
end

local function per_second(n) return ("%.1fk jobs/s"):format(n / 1000) end

-- Enqueueing: the same program with and without times, in turn.
local function enqueueing()
  local n, later, now, read = math.min(many, 200000), {}, {}, {}
  for i = 1, 3 do
    measure.fresh()
    read[i] = measure.lua("reading", n).rate
    measure.fresh()
    later[i] = measure.lua("later", n, 3600, DAY).rate
    measure.fresh()
    now[i] = measure.lua("later", n, 0, 0, "now").rate
  end
  local a, b = measure.spread(later)[2], measure.spread(now)[2]
  local compared = "without times: " .. per_second(b)
  row("enqueue_many, over a day", per_second(a), compared, a / b, ">= 0.8", a / b >= 0.8)
  local c = measure.spread(read)[2]
  row("the same into the bucket being read", per_second(c), "", c / b, ">= 0.6", c / b >= 0.6)
end

local function leading(name, limit_ms)
  local got = measure.lua("leader", idle)
  row(name .. ": ready", ("%d ms"):format(got.ready_ms), ("whole start: %d ms"):format(got.start_ms), nil,
    ("<= %d ms"):format(limit_ms), got.ready_ms <= limit_ms)
  row(name .. ": most memory", ("%.1f MB"):format(got.most_mb), nil, nil, "<= 60 MB", got.most_mb <= 60)
  row(name .. ": idle", ("%d ms CPU in %d s"):format(got.cpu_ms, idle),
    ("%.1f wakes a second"):format(got.wakes))
end

local function lateness(name, ...)
  local got = measure.lua("lateness", ...)
  row(name .. ": p50 / p99 / most",
    ("%.2f / %.2f / %.2f ms"):format(got.p50_ms, got.p99_ms, got.most_ms),
    ("earliest: %.2f ms"):format(got.least_ms), nil, "1 / 5 ms", got.p50_ms <= 1 and got.p99_ms <= 5)
end

enqueueing()

measure.fresh()
measure.lua("later", many, 3600, DAY)
leading(("%d jobs over a day"):format(many), 1500)
lateness(("%d a second, beside them"):format(rate), rate, seconds)
measure.fresh()
measure.lua("later", many, 3600, DAY)
lateness(("%d a second, across an opening"):format(rate), rate, seconds, "opening")

measure.fresh()
do -- due at the end of the bucket that is read first, of which enough has to be left
  local left = 600 - os.time() % 600
  if left < 120 then
    os.execute("sleep " .. left + 1)
    left = 600
  end
  measure.lua("later", many, left - 3, left - 2)
end
leading(("%d jobs in one bucket"):format(many), 3000)

measure.fresh()
local base = measure.baseline("publish", { n = BURST }).rate
measure.fresh()
local burst = measure.lua("lateness", BURST, 0).rate
row(("%d due at once"):format(BURST), per_second(burst), "L2: " .. per_second(base), burst / base, ">= 0.6",
  burst / base >= 0.6)

io.write("\n")
report.plain(io.stdout, HEAD, rows)
if results then
  local said = [[

On a machine that was doing other things as well. One run of each, of enqueueing the median of three;
lateness on one clock, from the time that was asked for to the time at which the queue's stream stored
the job.

]]
  local text = { "\n## The scheduler\n\n", report.origin(), "\n", said, report.markdown(HEAD, rows), "\n" }
  sections.write(results, "scheduler", "bench/scheduler --results", table.concat(text))
end
