-- scheduler.lua -- what bench/scheduler starts. The server is up, the programs are built.
local measure = require("measure")
local report = require("report")
local sections = require("sections")

local DAY, BUCKET = 86400, 600
local QUICK = { jobs = 100000, batch = 50000, seconds = 10, idle = 5, schedules = 1000, rounds = 2 }
local WHOLE = { jobs = 1000000, batch = 200000, seconds = 30, idle = 20, schedules = 10000, rounds = 3 }
local RATE, BURST, RUNS = 5000, 100000, 5

local HEAD = { "what", "measured", "compared with", "ratio", "target", "" }
local rows, notes = {}, {}

local function row(what, measured, compared, ratio, target, ok)
  rows[#rows + 1] = { what, measured, compared or "", ratio and ("%.2f"):format(ratio) or "", target or "",
    ok == nil and "" or ok and "ok" or "MISSED" }
  io.stderr:write("   ", table.concat(rows[#rows], " | "), "\n")
end

local function note(...)
  notes[#notes + 1] = string.format(...)
  io.stderr:write("     ", notes[#notes], "\n")
end

local function per_second(n) return ("%.1fk jobs/s"):format(n / 1000) end

-- All in turn, streams made new for each: the rates of each, by round.
local function in_turn(rounds, kinds)
  local rates = {}
  for i = 1, rounds do
    for k = 1, #kinds do
      local kind = kinds[(k + i) % #kinds + 1] -- whatever drifts meets all alike
      measure.fresh()
      rates[kind.name] = rates[kind.name] or {}
      rates[kind.name][i] = kind.run().rate
    end
  end
  return rates
end

-- Enqueueing: the same program with and without times, and plain C doing the same.
local function enqueueing(size)
  local n = size.batch
  local rates = in_turn(size.rounds, {
    { name = "now", run = function() return measure.lua("later", n, 0, 0, "now") end },
    { name = "later", run = function() return measure.lua("later", n, 3600, DAY) end },
    { name = "read", run = function() return measure.lua("reading", n) end },
    { name = "c_now", run = function() return measure.baseline("publish", { n = n }) end },
    { name = "c_later", run = function() return measure.baseline("put-delayed", { n = n, to = DAY }) end },
  })
  local function line(what, name, target)
    local ratio = measure.ratios(rates[name], rates.now)[2]
    local compared = "without times: " .. per_second(measure.spread(rates.now)[2])
    row(what, per_second(measure.spread(rates[name])[2]), compared, ratio, ">= " .. target, ratio >= target)
  end
  line("enqueue_many, over a day", "later", 0.8)
  line("the same into the bucket being read", "read", 0.6)
  note("enqueue_many: plain C puts %s into the delayed store and %s onto a queue: %.2f",
    per_second(measure.spread(rates.c_later)[2]), per_second(measure.spread(rates.c_now)[2]),
    measure.ratios(rates.c_later, rates.c_now)[2])
end

-- base: plain C that made the same consumer and read as much.
local function leading(name, size, limit_ms, base)
  local got = measure.lua("leader", size.idle)
  local compared = base and ("plain C: %d + %d ms"):format(base.made_ms, base.read_ms)
  row(name .. ": ready", ("%d ms"):format(got.ready_ms), compared,
    base and got.ready_ms / (base.made_ms + base.read_ms), ("<= %d ms"):format(limit_ms),
    got.ready_ms <= limit_ms)
  row(name .. ": most memory", ("%.1f MB"):format(got.most_mb), nil, nil, "<= 60 MB", got.most_mb <= 60)
  row(name .. ": idle", ("%d ms CPU in %d s"):format(got.cpu_ms, size.idle),
    ("%.1f wakes a second"):format(got.wakes))
end

local function load_average()
  local file = io.open("/proc/loadavg")
  local load = file and file:read("n") or 0
  if file then file:close() end
  return load
end

local function spread_of(got) return ("%.2f / %.2f / %.2f ms"):format(got.p50_ms, got.p99_ms, got.most_ms) end

-- Beside plain C that published as many, each at its time: the ratio is that of the two p99.
local function late(what, got, base)
  row(what .. ": p50 / p99 / most", spread_of(got), "plain C: " .. spread_of(base), got.p99_ms / base.p99_ms,
    "1 / 5 ms", got.p50_ms <= 1 and got.p99_ms <= 5)
end

-- The server's own share: as many published by plain C, each at its time, beside the same jobs.
local function paced(size)
  local n = measure.baseline("pace", { rate = RATE, seconds = size.seconds }).n
  return measure.lua("paced", n)
end

-- A million jobs behind everything: a leader's start, and jobs that are due meanwhile.
local function over_a_day(size)
  measure.fresh()
  measure.lua("later", size.jobs, 3600, DAY)
  leading(("%d jobs over a day"):format(size.jobs), size, 1500)
  local base = paced(size)
  late(("%d a second, beside them"):format(RATE), measure.lua("lateness", RATE, size.seconds), base)
end

local function opening(size)
  measure.fresh()
  measure.lua("later", size.jobs, 3600, DAY)
  local base = paced(size)
  local got = measure.lua("lateness", RATE, size.seconds, "opening")
  late(("%d a second, across an opening"):format(RATE), got, base)
end

-- Due at the end of the bucket that is read first, of which enough has to be left.
local function one_bucket(size)
  measure.fresh()
  local left = BUCKET - os.time() % BUCKET
  if left < 180 then
    os.execute("sleep " .. left + 1)
    left = BUCKET
  end
  local bucket = os.time() // BUCKET
  measure.lua("later", size.jobs, left - 3, left - 2)
  measure.lua("alone")
  local base = measure.baseline("read-bucket", { n = size.jobs, bucket = bucket })
  leading(("%d jobs in one bucket"):format(size.jobs), size, 3000, base)
end

local function burst()
  measure.fresh()
  local base = measure.baseline("publish", { n = BURST }).rate
  measure.fresh()
  local rate = measure.lua("lateness", BURST, 0).rate
  row(("%d due at once"):format(BURST), per_second(rate), "L2: " .. per_second(base), rate / base, ">= 0.6",
    rate / base >= 0.6)
end

local function recurring(size)
  measure.fresh()
  local base = paced(size)
  local interval = size.schedules / RATE
  late(("%d schedules, %d runs a second"):format(size.schedules, RATE),
    measure.lua("recurring", size.schedules, interval, RUNS), base)
end

local GROUPS = {
  { "enqueue", enqueueing },
  { "day", over_a_day },
  { "opening", opening },
  { "bucket", one_bucket },
  { "burst", burst },
  { "recurring", recurring },
}

local function usage()
  io.stderr:write("bench/scheduler: see bench/scheduler --help\n")
  os.exit(2)
end

local size, results, wanted = WHOLE, nil, {}
do
  local known, i = {}, 1
  for _, group in ipairs(GROUPS) do known[group[1]] = true end
  while arg[i] do
    if arg[i] == "--quick" then
      size = QUICK
    elseif arg[i] == "--results" and arg[i + 1] then
      i = i + 1
      results = arg[i]
    elseif known[arg[i]] then
      wanted[arg[i]] = true
    else
      usage()
    end
    i = i + 1
  end
end
local load = load_average()
for _, group in ipairs(GROUPS) do
  if not next(wanted) or wanted[group[1]] then group[2](size) end
end

io.write("\n")
report.plain(io.stdout, HEAD, rows)
for _, text in ipairs(notes) do io.write("- ", text, "\n") end
if results then
  local said = [[

One run of each, of enqueueing the median of some rounds in turn. Lateness is on one clock, from the time that
was asked for to the time at which the queue's stream stored the job; the delayed store counts whole
milliseconds, which is half a millisecond of it on average. Its ratio is that of the two p99.

]]
  local text = { "\n## The scheduler\n\n", report.origin(), "\n" }
  text[#text + 1] = ("Load average when it began: %.2f, when it ended: %.2f.\n"):format(load, load_average())
  text[#text + 1] = said
  text[#text + 1] = report.markdown(HEAD, rows) .. "\n"
  for _, line in ipairs(notes) do text[#text + 1] = ("- %s\n"):format(line) end
  text[#text + 1] = "\n"
  sections.write(results, "scheduler", "bench/scheduler --results", table.concat(text))
end
