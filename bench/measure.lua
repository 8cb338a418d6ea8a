-- measure.lua -- what the rows are made of: running the measuring programs, fresh streams for each
-- measurement, rounds in turn, medians.

local measure = {}

local URL = assert(os.getenv("NAQ_BENCH_URL"), "start this through bench/run")
local SERVER = os.getenv("NAQ_BENCH_SERVER")
local BASELINE = os.getenv("NAQ_BENCH_BASELINE")
local LOG = os.getenv("NAQ_BENCH_WORK") .. "/program.log"

local function quoted(words)
  local out = {}
  for i, word in ipairs(words) do
    out[i] = "'" .. tostring(word):gsub("'", "'\\''") .. "'"
  end
  return table.concat(out, " ")
end

-- Runs a program and reads the name=value pairs it prints.
local function run(words)
  local pipe = assert(io.popen(quoted(words) .. " 2>&1"))
  local lines = {}
  for line in pipe:lines() do
    lines[#lines + 1] = line
    if line:find("^# ") then io.stderr:write("   ", line:sub(3), "\n") end -- progress
  end
  local text = table.concat(lines, "\n")
  if not pipe:close() then
    local log = io.open(LOG)
    local said = log and "\n" .. log:read("a"):sub(-1500) or ""
    if log then log:close() end
    error(text .. said, 0)
  end
  local values = {}
  for name, value in text:gmatch("([%w_]+)=(%S+)") do
    values[name] = tonumber(value) or value
  end
  return values
end

--- A command of naq-baseline, with options and up to two programs for it to run.
function measure.baseline(command, options, program, second)
  local words = { BASELINE, command, "url=" .. URL, "server=" .. SERVER, "log=" .. LOG }
  for name, value in pairs(options or {}) do words[#words + 1] = name .. "=" .. value end
  for _, one in ipairs({ program, second }) do
    words[#words + 1] = "--"
    for _, word in ipairs(one) do words[#words + 1] = word end
  end
  os.remove(LOG)
  return run(words)
end

--- naq-baseline itself as a program to be watched.
function measure.baseline_program(command, n)
  return { BASELINE, command, "url=" .. URL, "n=" .. n }
end

--- `naq worker` on the benchmark's queue.
function measure.worker(threads, ...)
  local words = { "bin/naq", "worker", "bench", "--jobs", "bench/jobs.lua", "-u", URL }
  for _, word in ipairs({ "-l", "warning", "-c", threads, ... }) do words[#words + 1] = word end
  return words
end

--- A Lua client program of bench/programs, as a command and run.
function measure.program(name, ...)
  return { "lua5.4", "bench/programs/" .. name .. ".lua", URL, ... }
end

function measure.lua(name, ...)
  return run(measure.program(name, ...))
end

--- New, empty streams and buckets, made by naq itself: every baseline runs on naq's own layout.
--- A worker has served the queue since the server started, as on any server that has been up for a
--- while: what it might have forgotten in a crash is settled.
function measure.fresh()
  measure.baseline("wipe")
  measure.lua("layout")
  run(measure.worker(1, "--burst"))
end

--- Streams made new, and the queue served once since the server started: a worker that meets a
--- queue for the first time doubts its first deliveries and reads their records (measure.unserved).
function measure.served()
  measure.fresh()
  run(measure.worker(1, "--burst"))
end

--- n jobs on a queue that has been served before.
function measure.fill(n, job)
  measure.served()
  measure.baseline("publish", { n = n, job = job or "noop" })
end

--- The same on a queue that nobody has served since the server started.
function measure.unserved(n, job)
  measure.fresh()
  measure.baseline("publish", { n = n, job = job or "noop" })
end

--- A B A B: both sides in turn, `rounds` times; the lists of what they returned.
function measure.rounds(rounds, naq, base)
  local a, b = {}, {}
  for i = 1, rounds do
    -- The one that goes first changes: whatever drifts meets both alike.
    if i % 2 == 1 then a[i] = naq() end
    b[i] = base()
    if i % 2 == 0 then a[i] = naq() end
    io.stderr:write(("   round %d of %d\n"):format(i, rounds))
  end
  return a, b
end

--- One field of each round.
function measure.pick(list, field)
  local out = {}
  for i, values in ipairs(list) do
    out[i] = assert(values[field], "the measuring program did not print " .. field)
  end
  return out
end

--- {min, median, max}
function measure.spread(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local middle = (#sorted + 1) // 2
  local median = #sorted % 2 == 1 and sorted[middle] or (sorted[middle] + sorted[middle + 1]) / 2
  return { sorted[1], median, sorted[#sorted] }
end

--- Ratios of neighbours: a round's two sides ran within seconds of each other.
function measure.ratios(naq, base)
  local out = {}
  for i = 1, #naq do out[i] = naq[i] / base[i] end
  return measure.spread(out)
end

--- A row that compares one field of both sides. target: {">=" or "<=", number}.
function measure.compare(row, naq, base, field)
  local a, b = measure.pick(naq, field), measure.pick(base, field)
  row.naq, row.base = measure.spread(a), measure.spread(b)
  row.ratio = measure.ratios(a, b)
  return row
end

--- The CPU a job costs on either side, as a note.
function measure.cpu_note(name, list)
  local client = measure.spread(measure.pick(list, "client_us"))[2]
  local server = measure.spread(measure.pick(list, "server_us"))[2]
  return ("%s: client %.2f µs, server %.2f µs a job"):format(name, client, server)
end

--- The same where a client has no server figure of its own.
function measure.client_note(name, list)
  local client = measure.spread(measure.pick(list, "client_us"))[2]
  return ("%s: client %.2f µs a job"):format(name, client)
end

return measure
