-- lateness.lua -- how late jobs were stored on their queue: the stream's timestamp minus the time each was
-- due, of all that are there.
local core = require("naq.core")

local lateness = {}

local READ = 500

--- Reads n jobs of the queue "bench" from its stream, and says how late they were, in milliseconds.
---@param conn naq.core.Connection
---@param n integer
---@param due fun(message: table): number  epoch seconds
---@param shift number  what this process's clock is ahead of the server's
---@return string  as the measuring programs print it
function lateness.measure(conn, n, due, shift)
  local late, from, to = {}, math.huge, 0
  local read = assert(conn:fetcher("naq_jobs", "bench_normal"))
  while #late < n do
    for _, m in ipairs(assert(read:fetch(READ, 5))) do
      local at = m.timestamp + shift
      late[#late + 1] = (at - due(m)) * 1000
      from, to = math.min(from, at), math.max(to, at)
    end
  end
  read:close()
  table.sort(late)
  local function part(p) return late[math.max(1, math.ceil(#late * p))] end
  return ("n=%d least_ms=%.2f p50_ms=%.2f p99_ms=%.2f most_ms=%.2f rate=%.0f"):format(
    n, late[1], part(0.5), part(0.99), late[#late], (n - 1) / math.max(to - from, 1e-6))
end

--- The time that a job's arguments carry.
function lateness.due_of(m) return core.decode(m.data).args.due end

return lateness
