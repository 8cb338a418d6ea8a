-- driver.lua -- what bench/run starts: reads the options, runs the rows one after the other and
-- prints the table. The server is already up; measure.lua knows how to use it.

local ROWS = {
  "worker",
  "worker_forget",
  "enqueue_many",
  "enqueue",
  "kv_get",
  "js_publish",
  "latency",
  "idle",
  "start",
  "cpu",
  "limits",
  "queue_limits",
  "flat",
  "soak",
}

-- What each size means. soak and a million queued jobs take minutes, so only --full has them.
local SIZES = {
  quick = {
    rounds = 2, jobs = 50000, singles = 5000, samples = 300, starts = 5, idle = 3, burns = 500,
    deep = 50000,
  },
  default = {
    rounds = 3, jobs = 200000, singles = 20000, samples = 1000, starts = 15, idle = 10,
    burns = 1500, deep = 200000,
  },
  full = {
    rounds = 5, jobs = 200000, singles = 30000, samples = 3000, starts = 25, idle = 20,
    burns = 3000, deep = 1000000, soak = 10000000,
  },
}

local HELP = [[
usage: bench/run [--quick | --full] [--rounds N] [--jobs N] [--soak N] [--results FILE] [ROW...]

  --quick         smaller counts and two rounds: within a minute
  --full          a million queued jobs, ten million jobs through one worker
  --rounds N      rounds of naq and baseline in turn
  --jobs N        jobs a round in the throughput rows
  --soak N        run the row soak with N jobs
  --results FILE  write the table as Markdown too, as a section of FILE

Rows: ]] .. table.concat(ROWS, " ") .. "\n"

local function usage(message)
  io.stderr:write("bench/run: ", message, "\n", HELP)
  os.exit(2)
end

local function parse(words)
  local options, chosen, known = {}, {}, {}
  for _, name in ipairs(ROWS) do known[name] = true end
  local size = SIZES.default
  local i = 1
  local function number()
    i = i + 1
    local n = math.tointeger(tonumber(words[i]))
    if not n or n < 1 then usage(words[i - 1] .. " needs a number") end
    return n
  end
  while i <= #words do
    local word = words[i]
    if word == "--help" then
      io.write(HELP)
      os.exit(0)
    elseif word == "--quick" then
      size = SIZES.quick
    elseif word == "--full" then
      size = SIZES.full
    elseif word == "--rounds" or word == "--jobs" or word == "--soak" then
      options[word:sub(3)] = number()
    elseif word == "--results" then
      i = i + 1
      options.results = words[i] or usage("--results needs a file name")
    elseif known[word] then
      chosen[#chosen + 1] = word
    else
      usage("unknown row or option: " .. word)
    end
    i = i + 1
  end
  for key, value in pairs(size) do options[key] = options[key] or value end
  return options, #chosen > 0 and chosen or ROWS
end

local options, chosen = parse(arg)
local measure = require("measure")
local report = require("report")

local load = io.open("/proc/loadavg")
options.load = load and load:read("n")
if load then load:close() end

local results, broken = {}, 0
for _, name in ipairs(chosen) do
  if name ~= "soak" or options.soak then
    io.stderr:write("-- ", name, "\n")
    local ok, lines = pcall(require("rows." .. name), measure, options)
    if not ok then
      -- One row that cannot be measured must not hide the others.
      broken = broken + 1
      lines = { { name = name, broken = tostring(lines) } }
    end
    for _, line in ipairs(lines) do
      results[#results + 1] = line
      report.line(line)
    end
  end
end

io.write("\n")
report.table(io.stdout, results)
if options.results then
  local text = report.document(results, options)
  require("sections").write(options.results, "run", "bench/run --results", text)
end
-- A missed target is a result, not a failure; a row that could not be measured is one.
os.exit(broken == 0 and 0 or 1)
