-- workers.lua -- the workers that live, from the records they renew in <prefix>_workers.
local core = require("naq.core")
local errors = require("naq.errors")

local workers = {}

-- A worker that has missed this many heartbeats is stale; the bucket forgets it after its TTL.
local MISSED = 2.5

---@class naq.WorkerInfo
---@field id string
---@field host string
---@field pid integer
---@field state "starting"|"idle"|"busy"|"stopping"
---@field queues string[]
---@field threads integer
---@field running string[]   ids of the jobs it runs
---@field done integer
---@field failed integer
---@field started_at number
---@field seen_at number
---@field stale boolean

local function read(text, now)
  local worker = core.decode(text)
  if type(worker) ~= "table" or type(worker.id) ~= "string" then return nil end
  local interval = tonumber(worker.heartbeat_interval) or 15
  worker.stale = now - (tonumber(worker.seen_at) or 0) > MISSED * interval
  return worker
end

--- All workers that have a record, by id.
---@param client naq.Client
---@return naq.WorkerInfo[]? workers, string? message, naq.Code? code
function workers.list(client)
  local entries, message, code = client.conn:kv_entries(client.prefix .. "_workers")
  if not entries then
    -- A server that no worker has seen has no bucket.
    if code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION then return {} end
    return nil, message, code
  end
  local now, list = core.now(), {}
  for i = 1, #entries do
    list[#list + 1] = read(entries[i].value, now)
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

return workers
