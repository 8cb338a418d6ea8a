-- revive.lua -- running a job again by hand: a dead letter, a cancelled job, a retry that waits.
--
-- A job that had ended is brought back in this order: its record turns to `retry` by compare-and-set
-- (two who try: one wins), the next hop is published, the letter is deleted. Who dies in between leaves a
-- record that says `retry` and a letter that is still there: trying again goes on from there.
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local lookup = require("naq.lookup")

local revive = {}

-- So long a mark belongs to whoever wrote it; then somebody else may finish what was begun.
local MINE_SECONDS = 10

-- Where a record goes when the job's own has expired: any record that could outlive this bucket's time
-- would be there still, since dead letters do not stay longer.
local BUCKET = "_results_30d"

local CLASSES = { "_results_1h", "_results_1d", "_results_7d", "_results_30d", "_results_forever" }

local function refuse(id, why) return nil, ("job %s: %s"):format(id, why), errors.WRONG_STATE end

--- The record as it stands, with what a compare-and-set needs. A record whose time is over counts as
--- none, and is where the next one goes.
---@return table? record, integer? revision, string? bucket_or_message, naq.Code? code
local function read_record(client, id)
  local text, revision, bucket = client.conn:find_record(client.prefix, id)
  if text then
    local record = core.decode(text)
    return type(record) == "table" and record or {}, revision, bucket
  end
  local message, code = revision, bucket
  if code == errors.JOB_NOT_FOUND then return nil, nil, client.prefix .. BUCKET end
  if code ~= errors.EXPIRED then return nil, nil, message, code end
  for _, class in ipairs(CLASSES) do
    text, revision = client.conn:kv_get(client.prefix .. class, id)
    if text then return nil, revision, client.prefix .. class end
  end
  return nil, nil, client.prefix .. BUCKET
end

-- What a job that is to be brought back is doing, if it is not what it should be: a sentence.
local function elsewhere(record, hop)
  local state, at = record.state, tonumber(record.hop) or 0
  if state == "completed" then return "it has completed" end
  if state == "running" then return ("it is running on worker %s"):format(tostring(record.worker)) end
  if at > hop then return "it was tried again since, and waits for its next attempt" end
  if state == "retry" and at == hop then return nil end
  if at >= hop then return "it was tried again since" end
  if state == "failed" or state == "cancelled" then return nil end
  return "its last attempt has not ended"
end

-- Turn the record to `retry` at this hop. True, or nil, message, code; the fourth value: the letter is
-- an old one, of a hop long past.
local function mark(client, letter, hop)
  local id = letter.id
  local record, revision, bucket, code = read_record(client, id)
  if code then return nil, bucket, code end
  if record then
    local why = elsewhere(record, hop)
    if why then
      local message
      message, code = select(2, refuse(id, why))
      return nil, message, code, (tonumber(record.hop) or 0) >= hop
    end
    if record.state == "retry" then
      if core.now() - (tonumber(record.retried_at) or 0) < MINE_SECONDS then
        return refuse(id, "somebody else is retrying it right now")
      end
      local found, message
      found, message, code = lookup.waiting(client, id, letter)
      if code then return nil, message, code end
      -- What waits there may still be the message of the attempt that failed last, not acked yet.
      if found and (tonumber((found.payload or {}).hop) or 0) >= hop then
        message, code = select(2, refuse(id, "it is on its queue already"))
        return nil, message, code, true
      end
    end
  end
  local text = core.encode({
    state = "retry",
    job = letter.job,
    queue = letter.queue,
    priority = letter.priority,
    hop = hop,
    attempt = 1,
    retried_at = core.now(),
  })
  local written, message
  if revision then
    written, message, code = client.conn:kv_update(bucket, id, text, revision)
  else
    written, message, code = client.conn:kv_create(bucket, id, text)
  end
  if written then return true end
  if code == errors.WRONG_REVISION or code == errors.KEY_EXISTS then
    return refuse(id, "somebody else was faster: it changed while it was looked at")
  end
  return nil, message, code
end

--- Delete a message of a stream by its sequence: true when it is gone, whoever did it.
---@return true? gone, string? message, naq.Code? code
function revive.delete(client, stream, seq)
  local deleted, message, code = jetstream_api.delete_message(client.conn, client.prefix .. stream, seq, true)
  if deleted == nil then return nil, message, code end
  return true
end

-- To its queue. In its place may stand a message of the hop that ended: whoever ended it died before its
-- ack, or the ack is on its way. It has nothing to say any more.
local function publish(client, letter, payload, hop)
  local msg_id = ("%s:%d"):format(letter.id, hop)
  local subject = ("%s.q.%s.%s.%s"):format(client.prefix, letter.queue, letter.priority, letter.id)
  local seq, message, code = client.conn:js_publish(subject, payload, msg_id)
  if seq or code ~= errors.DUPLICATE then return seq, message, code end
  local data, info
  data, info, code = client.conn:last_msg(client.prefix .. "_jobs", subject)
  if data then
    -- Not decoded: a number that this interpreter cannot hold must not hide the hop.
    local there = (core.letter(('{"payload":%s}'):format(data)) or {}).hop
    if not there then return refuse(letter.id, "what stands in its place on the queue is no job") end
    if there >= hop then return info.seq end
    local gone
    gone, message, code = revive.delete(client, "_jobs", info.seq)
    if not gone then return nil, message, code end
  elseif code ~= errors.KEY_NOT_FOUND then
    return nil, info, code
  end
  seq, message, code = client.conn:js_publish(subject, payload, msg_id)
  return seq, message, code
end

--- Run the job of a dead letter again, or of a cancelled job's record that kept its payload: same id, next
--- hop, attempt 1, its history kept.
---@param client naq.Client
---@param letter table   core.letter(text), with id, queue and priority
---@param text string
---@param seq integer?   of the letter in its stream; nil: it is a record
---@return true? done, string? message, naq.Code? code  WRONG_STATE, UNDECODABLE
function revive.letter(client, letter, text, seq)
  local payload, hop, code = core.revive(text)
  if not payload then
    return nil, ("job %s: it cannot be run again: %s"):format(letter.id, hop), code
  end
  local marked, message, superseded
  marked, message, code, superseded = mark(client, letter, hop)
  if not marked then
    if superseded and seq then revive.delete(client, "_failed", seq) end
    return nil, message, code
  end
  local published
  published, message, code = publish(client, letter, payload, hop)
  if not published then
    local told = "job %s: marked for a retry, and not on its queue yet; try again in %d s: %s"
    return nil, told:format(letter.id, MINE_SECONDS, message), code
  end
  -- A letter that stays behind is found out by its hop.
  if seq then revive.delete(client, "_failed", seq) end
  return true
end

--- Run a retry now that waits for its time: the same hop, moved to its queue.
---@param client naq.Client
---@param id string
---@return true? done, string? message, naq.Code? code
function revive.now(client, id)
  local data, info, code = lookup.delayed_message(client, id)
  if not data then
    if code then return nil, info, code end
    return refuse(id, "it has just left the delayed store")
  end
  local subject = ("%s.q.%s.%s"):format(client.prefix, info.headers["Naq-To"] or "?", id)
  local seq, message
  -- The Msg-Id is the one that the scheduler would use: at the same moment they store it once.
  seq, message, code = client.conn:js_publish(subject, data, info.headers["Nats-Msg-Id"])
  if not seq then
    if code == errors.DUPLICATE then return refuse(id, "its last attempt is just ending") end
    return nil, ("job %s: %s"):format(id, message), code
  end
  local gone
  gone, message, code = revive.delete(client, "_delayed", info.seq)
  if gone then return true end
  local told = "job %s: it runs now; what is left of it in the delayed store will be dropped: %s"
  return nil, told:format(id, message), code
end

return revive
