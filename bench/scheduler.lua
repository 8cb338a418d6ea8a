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

local function leading(name, size, limit_ms, compared)
  local got = measure.lua("leader", size.idle)
  row(name .. ": ready", ("%d ms"):format(got.ready_ms), compared, nil, ("<= %d ms"):format(limit_ms),
    got.ready_ms <= limit_ms)
  row(name .. ": most memory", ("%.1f MB"):format(got.most_mb), nil, nil, "<= 60 MB", got.most_mb <= 60)
  row(name .. ": idle", ("%d ms CPU in %d s"):format(got.cpu_ms, size.idle),
    ("%.1f wakes a second"):format(got.wakes))
end

local function spread_of(got) return ("%.2f / %.2f / %.2f ms"):format(got.p50_ms, got.p99_ms, got.most_ms) end

local function late(what, got, compared)
  row(what .. ": p50 / p99 / most", spread_of(got), compared, nil, "1 / 5 ms",
    got.p50_ms <= 1 and got.p99_ms <= 5)
end

-- A million jobs behind everything: a leader's start, and jobs that are due meanwhile.
local function over_a_day(size)
  measure.fresh()
  measure.lua("later", size.jobs, 3600, DAY)
  leading(("%d jobs over a day"):format(size.jobs), size, 1500)
  late(("%d a second, beside them"):format(RATE), measure.lua("lateness", RATE, size.seconds))
end

local function opening(size)
  measure.fresh()
  measure.lua("later", size.jobs, 3600, DAY)
  local got = measure.lua("lateness", RATE, size.seconds, "opening")
  late(("%d a second, across an opening"):format(RATE), got)
end

-- The server's own share: the same rate, published by plain C, each at its time.
local function paced(size)
  measure.fresh()
  local n = measure.baseline("pace", { rate = RATE, seconds = size.seconds }).n
  note("lateness: plain C without a delayed store, %d a second: %s", RATE, spread_of(measure.lua("paced", n)))
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
  local base = measure.baseline("read-bucket", { n = size.jobs, bucket = bucket })
  leading(("%d jobs in one bucket"):format(size.jobs), size, 3000,
    ("plain C: %d + %d ms"):format(base.made_ms, base.read_ms))
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
  local interval = size.schedules / RATE
  late(("%d schedules, %d runs a second"):format(size.schedules, RATE),
    measure.lua("recurring", size.schedules, interval, RUNS))
end

local GROUPS = {
  { "enqueue", enqueueing },
  { "day", over_a_day },
  { "opening", opening },
  { "pace", paced },
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
for _, group in ipairs(GROUPS) do
  if not next(wanted) or wanted[group[1]] then group[2](size) end
end

io.write("\n")
report.plain(io.stdout, HEAD, rows)
for _, text in ipairs(notes) do io.write("- ", text, "\n") end
if results then
  local said = [[

One run of each, of enqueueing the median of some rounds in turn; lateness on one clock, from the time that
was asked for to the time at which the queue's stream stored the job.

]]
  local text = { "\n## The scheduler\n\n", report.origin(), "\n", said }
  text[#text + 1] = report.markdown(HEAD, rows) .. "\n"
  for _, line in ipairs(notes) do text[#text + 1] = ("- %s\n"):format(line) end
  text[#text + 1] = "\n"
  sections.write(results, "scheduler", "bench/scheduler --results", table.concat(text))
end
