-- leader.lua -- which scheduler leads, as its lease says.
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")

local leader = {}

---@class naq.LeaderInfo
---@field leader string   a worker's id, or what `naq scheduler -i` said
---@field host string
---@field pid integer
---@field since number
---@field seen_at number  when it last renewed its lease

--- The scheduler that leads; nil alone: none does.
---@param client naq.Client
---@return naq.LeaderInfo? leader, string? message, naq.Code? code
function leader.find(client)
  local there, text, message, code
  there, message, code = jetstream_api.laid_out(client)
  if not there then return nil, message, code end
  text, message, code = client.conn:kv_get(client.prefix .. "_leader", "scheduler")
  if not text then
    if code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION then return nil end
    return nil, message, code
  end
  local found = core.decode(text)
  if type(found) ~= "table" or type(found.leader) ~= "string" then return nil end
  return {
    leader = found.leader,
    host = found.host,
    pid = found.pid,
    since = found.since,
    seen_at = found.seen_at,
  }
end

return leader
