-- cancel.lua -- ending a job that waits or runs.
--
-- The job's record decides between a cancel and whatever else becomes of it, by compare-and-set. In order:
--   1. find it: its record, else its message
--   2. ask the workers (contest): one that runs the job makes it end in the record of step 3, or says that
--      it has just ended; see csrc/run/cancel.h
--   3. write the record `cancelled`, with what is needed to run the job again
--   4. delete the message, so that nobody gets it any more
--   5. tell the workers (stop): who runs it stops it, who is about to begin it does not
-- Whoever dies in between leaves a job that either goes on or is cancelled. A message that a worker may be
-- running is left to it: should it die behind a dead letter, the next one that gets the message finds the
-- record and takes the letter back (csrc/run/letterbox.h).
local core = require("naq.core")
local errors = require("naq.errors")
local job = require("naq.job")
local jetstream_api = require("naq.jetstream_api")
local lookup = require("naq.lookup")
local workers = require("naq.workers")

local cancel = {}

-- How long workers may take to answer. One that has died since its last heartbeat costs all of it.
local ANSWER_SECONDS = 0.25
local ENOUGH = '"running":true'
-- A job that changes at every look is looked at so often.
local TRIES = 20
local PAUSE_SECONDS = 0.02
-- Of a record that keeps what a job was given, for everything else in it.
local ROOM = 2048

local DAY = 86400
local CLASSES = {
  { "1h", 3600 }, { "1d", DAY }, { "7d", 7 * DAY }, { "30d", 30 * DAY }, { "forever", math.huge },
}

local function refuse(id, why) return nil, ("job %s: %s"):format(id, why), errors.WRONG_STATE end

local ENDED = { completed = "it has completed", failed = "it has failed", cancelled = "it is cancelled" }

-- The bucket's class and how long the record is to stay there, where that is shorter than the class.
local function place(ttl, told)
  if not ttl and told then
    for _, class in ipairs(CLASSES) do
      if class[1] == told then return told end
    end
  end
  for _, class in ipairs(CLASSES) do
    if ttl <= class[2] then return class[1], ttl < class[2] and class[2] < math.huge end
  end
  return "forever"
end

---@class naq.Cancelling   one try
---@field client naq.Client
---@field id string
---@field found naq.Found     its message
---@field letter table        what the message says of the job
---@field told string?        where a worker would write a record of it
---@field answered integer    workers that are there
---@field busy boolean        one of them may be running it

-- What the first `count` workers answer; who runs the job, or did so just now, is answer enough.
local function tell(try, stop, count)
  local subject = try.client.prefix .. ".w.cancel"
  local request = core.encode({ id = try.id, hop = try.letter.hop or 0, stop = stop })
  if count == 0 then
    try.client.conn:publish(subject, request)
    return {}
  end
  local texts, message, code =
    try.client.conn:request_many(subject, request, count, ANSWER_SECONDS, ENOUGH)
  if not texts then return nil, message, code end
  local answers = {}
  for i, text in ipairs(texts) do
    answers[i] = core.decode(text) or {}
  end
  return answers
end

local function any(answers, member)
  for _, answer in ipairs(answers) do
    if answer[member] == true then return true end
  end
  return false
end

-- All workers are asked. Whether it has ended just now; nil, message, code.
local function contest(try)
  local list, message, code = workers.list(try.client)
  if not list then return nil, message, code end
  local living = 0
  for _, worker in ipairs(list) do
    if not worker.stale and worker.state ~= "starting" then living = living + 1 end
  end
  if living == 0 then return false end
  local answers
  answers, message, code = tell(try, false, living)
  if not answers then return nil, message, code end
  try.answered = #answers
  try.told = answers[1] and answers[1].results
  local ended = any(answers, "ended")
  try.busy = ended or any(answers, "running") or #answers < living
  return ended
end

-- The text of the record. `payload` is kept as it is on the wire, byte by byte.
local function record_text(try, expires_at)
  local found, letter, now = try.found, try.letter, core.now()
  local record = {
    state = "cancelled",
    job = letter.job,
    queue = found.queue,
    priority = found.priority,
    hop = letter.hop or 0,
    attempt = letter.attempt or 1,
    enqueued_at = letter.enqueued_at or found.stored_at,
    finished_at = now,
    expires_at = expires_at,
  }
  local text = core.encode(record)
  local kept = core.keep(found.data, try.client.conn:max_payload() - #text - ROOM)
  return kept and ("%s,%s}"):format(text:sub(1, -2), kept) or text
end

-- Without erasing it: a server killed at that moment may have lost count of its sequences. One killed within
-- some seconds finds the message again, and workers its record, or their memory of it. Nobody looks for a
-- dead letter like that: it is erased.
local function delete(client, stream, seq, erase)
  jetstream_api.delete_message(client.conn, stream, seq, erase)
end

-- A record as it is now, with its place; nil alone: none.
local function read_record(client, id)
  local text, revision, bucket = client.conn:find_record(client.prefix, id)
  if text then
    local record = core.decode(text)
    record = type(record) == "table" and record or {}
    return { state = record.state, revision = revision, bucket = bucket }
  end
  local message, code = revision, bucket
  if code == errors.JOB_NOT_FOUND or code == errors.CONFIGURATION then return nil end
  return nil, message, code
end

-- Whether a worker ended it in another record before ours, which goes then: one that was starting while the
-- others were asked.
local function came_too_late(try, bucket, revision)
  local first = read_record(try.client, try.id)
  if not first or first.bucket == bucket or not job.TERMINAL[first.state] then return false end
  try.client.conn:kv_delete(bucket, try.id, revision)
  return true
end

-- Write it where it belongs: over the record that was found, else where a worker that does not know the
-- job's definition would. True; false: somebody was faster.
local function write(try, record)
  local client, id, ttl = try.client, try.id, try.letter.result_ttl
  if ttl and ttl <= 0 then ttl = nil end
  local written, message, code
  if record then
    local text = record_text(try)
    written, message, code = client.conn:kv_update(record.bucket, id, text, record.revision)
  else
    local default = client.config.results.ttl
    local class, shorter = place(ttl or (not try.told and default), try.told)
    local bucket = ("%s_results_%s"):format(client.prefix, class)
    local text = record_text(try, shorter and core.now() + (ttl or default) or nil)
    written, message, code = client.conn:kv_create(bucket, id, text)
    if written and not ttl and came_too_late(try, bucket, written) then return false end
  end
  if written then return true end
  if code == errors.WRONG_REVISION or code == errors.KEY_EXISTS then return false end
  return nil, message, code
end

-- Whether a worker has, or had, this message of a queue: one that got it behind the cancel's record publishes
-- nothing any more.
local function was_delivered(client, found)
  if found.state ~= "pending" then return false end
  local consumer = ("%s.%s_%s"):format(found.stream, found.queue, found.priority)
  local info = jetstream_api.call(client.conn, "CONSUMER.INFO", consumer)
  return info ~= nil and info.delivered.stream_seq >= found.seq
end

local function hop_of(found) return (core.letter(('{"payload":%s}'):format(found.data)) or {}).hop or 0 end

-- One that failed at that moment may have its letter already, or one of an earlier round is left over.
local function take_letter(try)
  local client, found = try.client, try.found
  if not found.queue then return end
  local stream = client.prefix .. "_failed"
  local subject = ("%s.f.%s.%s"):format(client.prefix, found.queue, try.id)
  local there, info = client.conn:last_msg(stream, subject)
  if not there then return end
  local msg_id = info.headers and info.headers["Nats-Msg-Id"] or ""
  local hop = tonumber(msg_id:match(":dead:(%d+)")) or 0
  if hop <= (try.letter.hop or 0) then delete(client, stream, info.seq, true) end
end

-- One that failed at that moment may have stored its next attempt. A retry by hand may have brought a later
-- one.
local function sweep(try)
  local data, info = lookup.delayed_message(try.client, try.id)
  if not data or hop_of({ data = data }) > (try.letter.hop or 0) + 1 then return end
  delete(try.client, try.client.prefix .. "_delayed", info.seq)
end

-- Behind the record everything is tidying up: what goes wrong there is made good by the record, which is
-- read before a job that may have been cancelled is run.
local function clear(try)
  local client, found = try.client, try.found
  local left = was_delivered(client, found)
  if not left then delete(client, found.stream, found.seq) end
  if found.state ~= "pending" then
    -- One that left the delayed store just now is on its queue.
    local moved = lookup.waiting(client, try.id, { queue = found.queue, priority = found.priority })
    if moved and hop_of(moved) <= (try.letter.hop or 0) + 1 and not was_delivered(client, moved) then
      delete(client, moved.stream, moved.seq)
    end
  end
  -- Those that were silent before get it as well, and are not waited for.
  local answers = tell(try, true, try.answered)
  local running = not answers or any(answers, "running")
  take_letter(try)
  if left and not (try.busy or running or #answers < try.answered) then
    delete(client, found.stream, found.seq)
  end
  if running then sweep(try) end
end

-- One try: true; nil, message, code; or false, what stands in the way, for another look.
local function attempt(client, handle)
  local id = handle.id
  local record, message, code = read_record(client, id)
  if code then return nil, message, code end
  if record and record.state == "cancelled" then return true end
  if record and job.TERMINAL[record.state] then return refuse(id, ENDED[record.state]) end

  local found
  found, message, code = lookup.waiting(client, id, handle)
  if code then return nil, message, code end
  if not found then return false, record and "it is on its way to its next place" or nil end
  local letter = core.letter(('{"payload":%s}'):format(found.data)) or {}
  local try = { client = client, id = id, found = found, letter = letter, answered = 0, busy = false }

  if found.state == "pending" then
    local ended
    ended, message, code = contest(try)
    if ended == nil then return nil, message, code end
    -- Told by a worker that is just storing what became of it: the next look sees that.
    if ended and not handle.looked_again then return false, "it is just ending" end
  end
  local written
  written, message, code = write(try, record)
  if written == nil then return nil, message, code end
  if not written then return false, "it changes all the time" end
  clear(try)
  return true
end

--- Cancel a job: one that waits never runs, one that runs is stopped.
---@param client naq.Client
---@param handle naq.Job
---@return true? cancelled  also when it was cancelled before
---@return string? message, naq.Code? code
---        WRONG_STATE: it has completed or failed; JOB_NOT_FOUND, EXPIRED
function cancel.job(client, handle)
  local done, message, code
  local look = { id = handle.id, queue = handle.queue, priority = handle.priority }
  for try = 1, TRIES do
    done, message, code = attempt(client, look)
    if done ~= false then return done, message, code end
    if try > 1 and not message then break end
    -- An answer that it has ended is about an earlier run when the job is still there.
    look.looked_again = try > TRIES / 2
    core.sleep(PAUSE_SECONDS)
  end
  if not message then return nil, ("job %s: not found"):format(handle.id), errors.JOB_NOT_FOUND end
  return refuse(handle.id, message)
end

return cancel
