-- reschedule.lua -- a job that waits for its time, moved to another one.
--
-- A copy of the job, its next hop, is put behind the time it has; then its message is deleted. Who dies in
-- between leaves two, never none, and the copy, whose record is read before it runs, is dropped when the job
-- has run. So a job moved to a later bucket of the store is put there; for all other times the copy is a
-- spare, which stands behind the old time until the message of the new one is there.
--
-- The scheduler holds copies of what is due soon and is told before the message is deleted. What it sent on
-- all the same stands on the queue, or in the job's record, and then it is the copy that goes.
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local lookup = require("naq.lookup")
local moment = require("naq.moment")

local reschedule = {}

local BUCKET_SECONDS = 600
-- A job so near to its time may be on its way to its queue: when it is looked at, when it is deleted.
local NEAR_SECONDS, LEAVING_SECONDS = 0.5, 0.25
-- The scheduler's copies are of the next five seconds, by its own clock.
local HELD_SECONDS = 10
-- No stream comes so far.
local BEYOND = "9000000000000000000"
-- Before a spare may run: longer than moving takes.
local SPARE_SECONDS = 60
-- A job that somebody else moves at this moment is looked at so often, with longer and longer pauses.
local TRIES, PAUSE_SECONDS = 8, 0.02

local function refuse(id, why) return nil, ("job %s: %s"):format(id, why), errors.WRONG_STATE end

-- One whose time has long passed waits for a scheduler.
local function about_to_run(found, margin)
  local left = found.due - core.now()
  return left < margin and left > -HELD_SECONDS
end

-- Tell the scheduler that leads, and wait until it knows; where none does, nobody answers.
local function withdraw(client, id, seconds)
  client.conn:request(client.prefix .. ".w.withdrawn", id, seconds)
end

-- True: deleted; false: it was not there any more.
local function delete(client, seq)
  local deleted, message, code = jetstream_api.delete_message(client.conn, client.prefix .. "_delayed", seq)
  return deleted, message, code
end

local function hop_of(data) return (core.letter(('{"payload":%s}'):format(data)) or {}).hop or 0 end

-- One message of the store, and the parts of it that another is made of.
local function read(client, subject)
  local data, info, code = client.conn:last_msg(client.prefix .. "_delayed", subject)
  if not data then
    if code == errors.KEY_NOT_FOUND then return nil end
    return nil, info, code
  end
  local queue, priority = (info.headers["Naq-To"] or ""):match("^([^.]+)%.([^.]+)$")
  if not queue then return nil end
  return {
    seq = info.seq,
    data = data,
    hop = hop_of(data),
    queue = queue,
    priority = priority,
    due = (tonumber(info.headers["Naq-Due"]) or 0) / 1000,
    bucket = tonumber(subject:match("%.(%d+)%.[^.]+$")),
  }
end

-- The job's messages, the earliest hop first: several while it is moved, and when who did so has died.
local function find(client, id)
  local subjects, all = {}, {}
  local stream, filter = client.prefix .. "_delayed", ("%s.d.*.%s"):format(client.prefix, id)
  local ok, message, code = jetstream_api.each_subject(client.conn, stream, filter, function(subject)
    subjects[#subjects + 1] = subject
  end)
  if not ok then
    if code == errors.KEY_NOT_FOUND then return all end
    return nil, message, code
  end
  for _, subject in ipairs(subjects) do
    local found
    found, message, code = read(client, subject)
    if code then return nil, message, code end
    all[#all + 1] = found
  end
  table.sort(all, function(a, b) return a.hop < b.hop end)
  return all
end

-- Put the next hop of a payload; its payload and sequence.
local function put(client, id, found, payload, due)
  local next_hop, hop, code = core.postpone(payload)
  if not next_hop then return nil, ("job %s: %s"):format(id, hop), code end
  local seq, message
  seq, message, code =
    client.conn:put_delayed(client.prefix, found.queue, found.priority, id, due, next_hop, hop, true)
  if seq then return next_hop, seq end
  if code == errors.DUPLICATE then return refuse(id, "somebody else is moving it") end
  return nil, ("job %s: %s"):format(id, message), code
end

-- Whether the message that was found has been sent on to its queue: it stands there, or its attempt has left
-- its trace in the job's record.
local function has_left(client, id, found)
  local subject = ("%s.q.%s.%s.%s"):format(client.prefix, found.queue, found.priority, id)
  -- The stream stores in order: once it has refused this, it has stored what came before.
  client.conn:js_publish(subject, "{}", nil, { headers = { ["Nats-Expected-Last-Sequence"] = BEYOND } })
  local data = client.conn:last_msg(client.prefix .. "_jobs", subject)
  if data then return hop_of(data) <= found.hop end
  local record = core.decode(client.conn:find_record(client.prefix, id) or "null")
  if type(record) ~= "table" then return false end
  local hop = tonumber(record.hop) or 0
  return hop == (record.state == "retry" and found.hop + 1 or found.hop)
end

-- The message at the old time is deleted: true; false: it stays, or has been sent on; nil: nobody knows.
local function take_away(client, id, found)
  local left = found.due - core.now()
  if left < HELD_SECONDS then withdraw(client, id, math.max(math.min(left - LEAVING_SECONDS, 1), 0.01)) end
  if about_to_run(found, LEAVING_SECONDS) then return false, "it is about to run" end
  local gone, message, code = delete(client, found.seq)
  if gone == nil then
    local told = "job %s: whether it was moved is not known: %s"
    return nil, told:format(id, message), code
  end
  local near = found.due - core.now() < HELD_SECONDS
  if not gone or (near and has_left(client, id, found)) then
    return false, "it has just left the delayed store"
  end
  return true
end

local function move(client, id, found, due)
  local later = math.floor(due / BUCKET_SECONDS) > found.bucket
  local behind = math.max(found.bucket, math.floor((core.now() + SPARE_SECONDS) / BUCKET_SECONDS)) + 1
  local payload, first, code = put(client, id, found, found.data, later and due or behind * BUCKET_SECONDS)
  if not payload then return nil, first, code end
  local moved, message
  moved, message, code = take_away(client, id, found)
  if moved == nil then return nil, message, code end -- the copy stays: it may be all there is
  if not moved then
    delete(client, first)
    return refuse(id, message)
  end
  if later then return true end
  local last
  payload, last, code = put(client, id, found, payload, due)
  if not payload then
    local told = "%s; it could not be put at that time, and runs at %s"
    return nil, told:format(last, moment.utc(behind * BUCKET_SECONDS)), code
  end
  withdraw(client, id, LEAVING_SECONDS)
  if delete(client, first) ~= false then return true end
  delete(client, last) -- who looked for the job meanwhile has found the spare, and moved that
  return refuse(id, "somebody else is moving it")
end

-- Why a job is not there that is to be moved; false: it is being moved at this moment.
local function elsewhere(client, handle)
  local found, message, code = lookup.locate(client, handle.id, handle)
  if not found then return nil, message, code end
  local state = found.state
  if state == "scheduled" or state == "retry" then return false end
  if job.TERMINAL[state] then return refuse(handle.id, "it is " .. state) end
  return refuse(handle.id, ("it waits for no time: it is %s"):format(state))
end

--- See Job:reschedule(). Raises at `level` for what is no time.
---@param client naq.Client
---@param handle naq.Job
---@param time number|string
---@param level integer
---@return true? done, string? message, naq.Code? code
function reschedule.job(client, handle, time, level)
  local due, problem = moment.seconds(time)
  if not due then error("the time " .. problem, level + 1) end
  for try = 1, TRIES do
    local all, done, message, code
    all, message, code = find(client, handle.id)
    if not all then return nil, message, code end
    local found = all[1]
    if #all == 1 or (found and try == TRIES) then
      if about_to_run(found, NEAR_SECONDS) then return refuse(handle.id, "it is about to run") end
      done, message, code = move(client, handle.id, found, due)
      -- What somebody left who died while he moved it.
      for i = 2, done and #all or 0 do
        delete(client, all[i].seq)
      end
      return done, message, code
    elseif not found then
      done, message, code = elsewhere(client, handle)
      if done == nil then return nil, message, code end
    end
    core.sleep(PAUSE_SECONDS * try)
  end
  return refuse(handle.id, "somebody else is moving it")
end

return reschedule
