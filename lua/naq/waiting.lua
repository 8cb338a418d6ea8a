-- waiting.lua -- the jobs that wait on a queue, looked at without being touched, and one of them taken
-- away.
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local lookup = require("naq.lookup")
local running = require("naq.running")
local shape = require("naq.shape")

local waiting = {}

---@class naq.WaitingJob
---@field id string
---@field job string?       absent where the payload is none of naq's
---@field queue string
---@field priority "high"|"normal"|"low"
---@field args any
---@field enqueued_at number?
---@field attempt integer
---@field seq integer       where it stands in the stream: what `after` takes

-- The number behind which to begin.
local function position(client, name, after)
  if after == nil then return 0 end
  if type(after) == "number" then return after end
  for _, priority in ipairs(job.PRIORITIES) do
    local subject = ("%s.q.%s.%s.%s"):format(client.prefix, name, priority, after)
    local data, info, code = client.conn:last_msg(client.prefix .. "_jobs", subject)
    if data then return tonumber(info.seq) end
    if code ~= errors.KEY_NOT_FOUND and code ~= errors.CONFIGURATION then return nil, info, code end
  end
  local message = ("job %s does not wait here any more; go on from its seq"):format(after)
  return nil, message, errors.JOB_NOT_FOUND
end

local function shown(name, message)
  local priority, id = message.subject:match("([^.]+)%.([^.]+)$")
  local payload = core.decode(message.data)
  if type(payload) ~= "table" then payload = {} end
  return {
    id = id,
    job = shape.text(payload.job),
    queue = name,
    priority = priority,
    args = payload.args,
    enqueued_at = shape.time(payload.enqueued_at),
    attempt = shape.count(payload.attempt, 1) or 1,
    seq = tonumber(message.seq),
  }
end

--- One page of the jobs that wait, in the order in which they were stored. Jobs that run are left out.
--- Nothing is held between pages: give the last one's seq (or id) as `after`.
---@param client naq.Client
---@param name string
---@param limit integer
---@param after integer|string|nil
---@return naq.WaitingJob[]? jobs, string? message, naq.Code? code  JOB_NOT_FOUND: after is gone
function waiting.peek(client, name, limit, after)
  local at, message, code = position(client, name, after)
  if not at then return nil, message, code end
  local busy
  busy, message, code = running.jobs(client)
  if not busy then return nil, message, code end
  local filter = ("%s.q.%s.*.*"):format(client.prefix, name)
  local jobs = {}
  while #jobs < limit do
    local found
    found, message, code = client.conn:get_msg(client.prefix .. "_jobs", at + 1, filter)
    if not found then
      if code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION then break end
      return nil, message, code
    end
    local one = shown(name, found)
    at = one.seq
    if not busy[one.id] then jobs[#jobs + 1] = one end
  end
  return jobs
end

-- Whether workers were given messages of that priority up to this one, or beyond it: then one of them
-- may have it, fetched and not begun.
local function may_be_fetched(client, name, priority, seq)
  local consumer = ("%s_jobs.%s_%s"):format(client.prefix, name, priority)
  local info, message, code = jetstream_api.call(client.conn, "CONSUMER.INFO", consumer)
  if info then
    return (tonumber(info.delivered.stream_seq) or 0) >= seq and (info.num_ack_pending or 0) > 0
  end
  if code == errors.KEY_NOT_FOUND then return false end
  return nil, message, code
end

-- What to do instead is part of the answer: `delete` is for what nobody has, `cancel` for everything else.
local CANCEL = "; to end it all the same, cancel it: naq job cancel %s, or job:cancel()"

local function refuse(id, why, advice)
  return nil, ("job %s: not deleted: %s%s"):format(id, why, (advice or ""):format(id)), errors.WRONG_STATE
end

local function elsewhere(id, found)
  if job.TERMINAL[found.state] then return refuse(id, "it has ended already: " .. found.state) end
  if found.state == "running" then return refuse(id, "it is running", CANCEL) end
  return refuse(id, ("it is %s, and not on its queue"):format(found.state), CANCEL)
end

--- Take one waiting job away, as if it had never been enqueued.
---@return true? deleted, string? message, naq.Code? code
---        JOB_NOT_FOUND; WRONG_STATE: it does not wait here, or a worker has got it already
function waiting.delete(client, name, id)
  local found, message, code = lookup.locate(client, id)
  if not found then return nil, message, code end
  if found.queue ~= name then return refuse(id, "it is on queue " .. tostring(found.queue)) end
  if found.state ~= "pending" then return elsewhere(id, found) end
  local stream = client.prefix .. "_jobs"
  local subject = ("%s.q.%s.%s.%s"):format(client.prefix, name, found.priority, id)
  local data, info
  data, info, code = client.conn:last_msg(stream, subject)
  if not data then return nil, info, code == errors.KEY_NOT_FOUND and errors.JOB_NOT_FOUND or code end
  local fetched
  fetched, message, code = may_be_fetched(client, name, found.priority, info.seq)
  if fetched == nil then return nil, message, code end
  if fetched then return refuse(id, "a worker may have fetched it, and begin it at any moment", CANCEL) end
  local deleted
  deleted, message, code =
    jetstream_api.call(client.conn, "STREAM.MSG.DELETE", stream, { seq = info.seq, no_erase = true })
  if not deleted then
    if code == errors.KEY_NOT_FOUND then
      return refuse(id, "it was begun or removed in the same moment; its state says which")
    end
    return nil, message, code
  end
  fetched, message, code = may_be_fetched(client, name, found.priority, info.seq)
  if fetched == nil then return nil, message, code end
  if fetched then
    local told = "job %s: off its queue, but a worker may have fetched it just now, and runs it then"
    return nil, told:format(id), errors.WRONG_STATE
  end
  return true
end

return waiting
