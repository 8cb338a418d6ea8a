-- queue_stats.lua -- how a queue stands: what waits on it, runs, is delayed, has failed, and who serves it.
local control = require("naq.control")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local lookup = require("naq.lookup")
local running = require("naq.running")
local workers = require("naq.workers")

local queue_stats = {}

---@class naq.QueueStats
---@field queue string
---@field pending integer   fetched by workers ahead of time, or given back by them, too
---@field running integer
---@field delayed integer?  absent where the delayed store is too large to be read for it
---@field failed integer    dead letters
---@field paused boolean
---@field workers integer   live workers that serve it

-- Jobs not delivered yet, and delivered but not acked. Where nobody has served the queue it has no
-- consumer, and its messages are counted: all together, since each count costs the server 0.1 s for a
-- million in its stream.
local function count_waiting(client, name)
  local stream = client.prefix .. "_jobs"
  local waiting, given, uncounted = 0, 0, {}
  for _, priority in ipairs(job.PRIORITIES) do
    local consumer = ("%s.%s_%s"):format(stream, name, priority)
    local info, message, code = jetstream_api.call(client.conn, "CONSUMER.INFO", consumer)
    if info then
      waiting, given = waiting + (info.num_pending or 0), given + (info.num_ack_pending or 0)
    elseif code == errors.KEY_NOT_FOUND then
      uncounted[#uncounted + 1] = priority
    else
      return nil, message, code
    end
  end
  if #uncounted == #job.PRIORITIES then uncounted = { "*" } end
  for _, priority in ipairs(uncounted) do
    local filter = ("%s.q.%s.%s.*"):format(client.prefix, name, priority)
    local count, message, code = jetstream_api.count_subjects(client.conn, stream, filter)
    if not count and code ~= errors.KEY_NOT_FOUND then return nil, message, code end
    waiting = waiting + (count or 0)
  end
  return waiting, given
end

-- How many of the jobs that workers were given run. The others they have fetched ahead, or given back
-- without a consumer saying so. Who does not answer, or is no worker of naq, may run all it was given.
local function count_running(client, name, given)
  if given == 0 then return 0 end
  local jobs, all, code = running.jobs(client)
  if not jobs then return nil, all, code end
  if not all then return given end
  local count = 0
  for _, queue in pairs(jobs) do
    if queue == name then count = count + 1 end
  end
  return math.min(count, given)
end

--- Shape as `naq queue stats --json`.
---@param client naq.Client
---@param name string
---@return naq.QueueStats? stats, string? message, naq.Code? code
function queue_stats.of(client, name)
  local stats = { queue = name, pending = 0, running = 0, paused = false, workers = 0 }
  local pending, given, failure = count_waiting(client, name)
  if not pending then return nil, given, failure end
  local now_running, message, code = count_running(client, name, given)
  if not now_running then return nil, message, code end
  stats.running = now_running
  stats.pending = pending + given - now_running

  local paused
  paused, message, code = control.paused(client, name)
  if paused == nil then return nil, message, code end
  stats.paused = paused

  local filter = ("%s.f.%s.*"):format(client.prefix, name)
  local failed
  failed, message, code = jetstream_api.count_subjects(client.conn, client.prefix .. "_failed", filter)
  if not failed and code ~= errors.KEY_NOT_FOUND then return nil, message, code end
  stats.failed = failed or 0

  local delayed
  delayed, message, code = lookup.delayed_by_queue(client)
  if code then return nil, message, code end
  if delayed then stats.delayed = delayed[name] or 0 end

  local list
  list, message, code = workers.list(client)
  if not list then return nil, message, code end
  for _, worker in ipairs(list) do
    for _, served in ipairs(worker.queues or {}) do
      if served == name and not worker.stale then stats.workers = stats.workers + 1 end
    end
  end
  return stats
end

return queue_stats
