-- waiting.lua -- the jobs that wait on a queue, looked at without being touched.
local core = require("naq.core")
local errors = require("naq.errors")
local job = require("naq.job")
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

return waiting
