-- scheduler.lua -- options in, a scheduler of the core out: for `naq scheduler` and for programs that
-- release delayed jobs without running any. Lua 5.4 only, as the core's schedulers are.
local config = require("naq.config")
local core = require("naq.core")
local errors = require("naq.errors")
local id_rule = require("naq.id_rule")

local scheduler = {}

-- Its own options; those of config.lua may stand beside them.
local SCHEDULER = {
  id = {
    type = "string",
    check = id_rule.problem,
    doc = "its name where the leader is shown (host and process)",
  },
  alone = { type = "boolean", doc = "refuse to start while another one leads" },
}

---@class naq.Scheduler
---@field core naq.CoreScheduler
---@field config naq.Config
---@field id string
local Scheduler = {}
Scheduler.__index = Scheduler
Scheduler.__name = "naq.Scheduler"

--- Start a scheduler on a thread of its own; it leads when no other does. Raises at `level` (default 1:
--- the calling function) for options that are misspelt or mistyped.
---@param given? table  id, alone; and configuration
---@param level? integer
---@return naq.Scheduler? scheduler, string? message, naq.Code? code  NOT_LEADER: alone, and another leads
function scheduler.new(given, level)
  local own, resolved, code = config.resolve_beside(SCHEDULER, given or {}, (level or 1) + 1)
  if not own then return nil, resolved, code end
  if not core.scheduler then return nil, "scheduler: schedulers need Lua 5.4", errors.UNSUPPORTED end

  local made, message
  made, message, code = core.configure_log(resolved.logging)
  if not made then return nil, message, code end
  made, message, code = core.scheduler({
    connect = config.connect_options(resolved),
    prefix = resolved.queues.prefix,
    id = own.id,
    alone = own.alone,
    lock_ttl = resolved.scheduler.lock_ttl,
    max_failures = resolved.scheduler.max_failures,
    misfire = resolved.scheduler.misfire,
    ttl = resolved.workers.ttl,
    failed_age = resolved.failed.max_age,
    failed_bytes = resolved.failed.max_bytes,
  })
  if not made then return nil, message, code end
  return setmetatable({ core = made, config = resolved, id = made:id() }, Scheduler)
end

--- Whether it is the one that releases what is due.
---@return boolean
function Scheduler:leads() return self.core:leads() end

--- Stop it; another one takes over at once. Closing twice is fine.
function Scheduler:close() self.core:close() end

Scheduler.__close = Scheduler.close

return scheduler
