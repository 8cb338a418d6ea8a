-- recurring.lua URL N SECONDS RUNS -- N schedules, each with an interval of so many seconds, their times
-- spread evenly over it; a scheduler in this process runs each RUNS times. Prints how late the runs were.
local core = require("naq.core")
local lateness = require("lateness")
local naq = require("naq")

local url, n, interval, runs = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local LEAD = 10
local client = assert(naq.connect({ servers = { url } }))
local first = math.floor(core.now()) + LEAD
local payload = { v = 1, job = "noop" }
for i = 1, n do
  local start = first + (i - 1) * interval / n
  assert(client.conn:kv_put("naq_schedules", ("s%05d"):format(i), core.encode({ v = 1, queue = "bench",
    priority = "normal", payload = payload, interval = interval, starts_at = start, anchor = start,
    ["repeat"] = runs, state = "active" })))
end
assert(core.now() < first - 2, "writing the schedules took too long")

local scheduler = assert(core.scheduler({ connect = { servers = { url } } }))
local api = require("naq.jetstream_api")
local function stored() return api.call(client.conn, "STREAM.INFO", "naq_jobs").state.messages end
local patience = first + interval * runs + 60
repeat
  core.sleep(0.2)
  assert(core.now() < patience, "not all were run")
until stored() >= n * runs

-- A run's id is its schedule and the time it was due.
local function due_of(m) return tonumber(m.subject:match("%-(%d+)$")) / 1000 end
local said = lateness.measure(client.conn, n * runs, due_of, 0)
scheduler:close()
client:close()
print(said)
