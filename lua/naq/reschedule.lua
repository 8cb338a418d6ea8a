-- reschedule.lua -- a job that waits for its time, moved to another one.
--
-- The job is put at its new time as its next hop, then its message at the old time is deleted: who dies in
-- between leaves two, never none, and the one of the earlier hop is dropped once the other has run. The
-- store has one place a job in each ten minutes; where both times are in the same ones, a spare is put
-- behind them until the new message has taken the place of the old.
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local lookup = require("naq.lookup")
local moment = require("naq.moment")

local reschedule = {}

local BUCKET_SECONDS = 600
-- A job so near to its time may be on its way to its queue.
local NEAR_SECONDS = 0.25

local function refuse(id, why) return nil, ("job %s: %s"):format(id, why), errors.WRONG_STATE end

-- True: deleted; false: it was not there any more.
local function delete(client, seq)
  local body = { seq = seq, no_erase = true }
  local stream = client.prefix .. "_delayed"
  local ok, message, code = jetstream_api.call(client.conn, "STREAM.MSG.DELETE", stream, body)
  if ok then return true end
  if code == errors.KEY_NOT_FOUND or (message or ""):find("not found", 1, true) then return false end
  return nil, message, code
end

-- Where the job's message stands, and the parts of it that a new one is made of.
local function find(client, id)
  local data, info, code = lookup.delayed_message(client, id)
  if code then return nil, info, code end
  if not data then return nil end
  local stored = client.conn:get_msg(client.prefix .. "_delayed", info.seq)
  local queue, priority = (info.headers["Naq-To"] or ""):match("^([^.]+)%.([^.]+)$")
  if not stored or not queue then return nil end
  return {
    seq = info.seq,
    data = data,
    queue = queue,
    priority = priority,
    due = (tonumber(info.headers["Naq-Due"]) or 0) / 1000,
    bucket = tonumber(stored.subject:match("%.(%d+)%.[^.]+$")),
  }
end

-- Put the next hop of a payload; its payload and sequence.
local function put(client, id, found, payload, due)
  local next_hop, hop, code = core.postpone(payload)
  if not next_hop then return nil, hop, code end
  local seq, message
  seq, message, code =
    client.conn:put_delayed(client.prefix, found.queue, found.priority, id, due, next_hop, hop)
  if not seq then return nil, message, code end
  return next_hop, seq
end

local function move(client, id, found, due)
  local bucket = math.floor(math.max(due, core.now()) / BUCKET_SECONDS)
  local shared = bucket == found.bucket
  local first_due = shared and (bucket + 1) * BUCKET_SECONDS or due
  local payload, first, code = put(client, id, found, found.data, first_due)
  if not payload then return nil, ("job %s: %s"):format(id, first), code end
  -- The scheduler holds copies of what is due soon: from now on it looks again.
  client.conn:publish(client.prefix .. ".w.withdrawn", id)
  client.conn:flush(5)
  local gone, message
  gone, message, code = delete(client, found.seq)
  if not gone then
    delete(client, first)
    if gone == nil then return nil, ("job %s: %s"):format(id, message), code end
    return refuse(id, "it has just left the delayed store")
  end
  if not shared then return true end
  payload, message, code = put(client, id, found, payload, due)
  if not payload then
    local told = "job %s: it could not be put at that time, and runs %d minutes later at the most: %s"
    return nil, told:format(id, BUCKET_SECONDS / 60, message), code
  end
  delete(client, first)
  return true
end

-- Why a job is not there that is to be moved.
local function elsewhere(client, handle)
  local found, message, code = lookup.locate(client, handle.id, handle)
  if not found then return nil, message, code end
  local state = found.state
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
  local found, message, code = find(client, handle.id)
  if code then return nil, message, code end
  local done
  if not found then
    done, message, code = elsewhere(client, handle)
    return done, message, code
  end
  if found.due - core.now() < NEAR_SECONDS then return refuse(handle.id, "it is about to run") end
  done, message, code = move(client, handle.id, found, due)
  return done, message, code
end

return reschedule
