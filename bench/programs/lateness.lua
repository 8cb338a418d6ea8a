-- lateness.lua URL RATE SECONDS [opening] -- a scheduler in this process releases RATE jobs a second for so
-- many seconds (0: all at the same moment). Prints how late they were: when the queue's stream stored each,
-- minus its time. With "opening" the clock of this process is set so that the next bucket is opened in
-- between.
local core = require("naq.core")
local naq = require("naq")

local url, rate, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3])
local BUCKET, EARLY, LEAD = 600, 20, 20
local shift = 0
if arg[4] == "opening" then
  -- The opening is to come in the middle.
  local opening = math.ceil((core.now() + EARLY) / BUCKET) * BUCKET - EARLY
  shift = opening - core.now() - LEAD - seconds / 2
  core.shift_clock(shift)
end

local client = assert(naq.connect({ servers = { url } }))
local scheduler = assert(core.scheduler({ connect = { servers = { url } } }))
local n = math.floor(seconds > 0 and rate * seconds or rate)
local first = core.now() + LEAD
do
  local list = {}
  for i = 1, n do
    local at = first + seconds * (i * 7919 % n) / n
    list[i] = { "noop", { due = at }, { at = at } }
  end
  local jobs, refused = client:queue("bench"):enqueue_many(list)
  assert(jobs, refused)
  assert(core.now() < first, "enqueueing took too long")
end

local api = require("naq.jetstream_api")
local function stored() return api.call(client.conn, "STREAM.INFO", "naq_jobs").state.messages end
local patience = core.mono() + LEAD + seconds + 60
repeat
  core.sleep(0.2)
  assert(core.mono() < patience, "not all were released")
until stored() >= n

local lateness = require("lateness")
local said = lateness.measure(client.conn, n, lateness.due_of, shift)
scheduler:close()
client:close()
print(said)
