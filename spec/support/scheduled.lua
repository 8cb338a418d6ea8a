-- What a spec of recurring schedules starts from: a server, its client, and no schedule left by the test before.
--
--   local at = support.scheduled()
--   setup(function() server, client = at:begin() end)
--   teardown(function() at:finish() end)
--   before_each(function() queue, scheduler = at:schedule() end)
--   after_each(function()
--     scheduler:close()
--     at:forget()
--   end)
local nats = require("spec.support.nats")

---@class spec.Scheduled
---@field server table
---@field client naq.Client
---@field queue naq.Queue
local Scheduled = {}
Scheduled.__index = Scheduled

local scheduled = {}

---@return spec.Scheduled
function scheduled.new() return setmetatable({}, Scheduled) end

---@return table server, naq.Client client
function Scheduled:begin()
  self.server = nats.start()
  self.client = self.server:client()
  return self.server, self.client
end

function Scheduled:finish()
  self.client:close()
  self.server:stop()
end

--- A new queue, and a scheduler in this process, which leads.
---@return naq.Queue queue, naq.Scheduler scheduler
function Scheduled:schedule()
  self.queue = self.client:queue(nats.fresh_name())
  return self.queue, assert(require("naq.scheduler").new({ servers = { self.server.url } }))
end

--- The ids of the jobs on that queue.
---@return string[]
function Scheduled:waiting()
  local ids = {}
  for _, job in ipairs(assert(self.queue:peek(1000))) do
    ids[#ids + 1] = job.id
  end
  return ids
end

--- Remove all schedules.
function Scheduled:forget()
  for _, row in ipairs(assert(self.client:schedules())) do
    assert(self.client.conn:kv_purge("naq_schedules", row.id))
  end
end

return scheduled
