-- attempt.lua -- the job as its function sees it: plain fields (id, name, queue, attempt, max_retries,
-- enqueued_at, trace) set by whoever runs it, and these methods.
local core = require("naq.core")

local attempt = {}

-- What is enqueued by a job belongs to the trace that the job belongs to. naq makes no spans of its own, so
-- the parent is the job's, or the span that a hook has put into job.trace.
local function inherit(self, options)
  if self.trace == nil or (options and options.trace ~= nil) then return options end
  local all = { trace = self.trace }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return all
end

--- The metatable of a job's second argument.
---@param host {snooze: any, discard: any, cancelled: fun(): boolean, client: fun(): naq.Client?, ...}
---        snooze, discard: what those return first; client: to enqueue with
---@return table
function attempt.class(host)
  local Attempt = {}
  Attempt.__index = Attempt
  Attempt.__metatable = false -- shared by all jobs of this state

  --- Run it again in `seconds`, at the cost of no attempt. Takes effect when returned.
  function Attempt.snooze(_, seconds)
    if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
      error("job:snooze() takes a number of seconds from 0", 2)
    end
    return host.snooze, seconds
  end

  --- A dead letter now, whatever retries are left. Takes effect when returned.
  function Attempt.discard(_, reason) return host.discard, reason and tostring(reason) end

  --- A line in the worker's log that names the job.
  function Attempt:log(level, text)
    core.log(level, ("job %s: %s"):format(self.id, tostring(text)))
    return true
  end

  function Attempt.progress()
    return nil, "job:progress is not supported by this version", "UNSUPPORTED"
  end

  --- Whether somebody cancelled it: a job that looks can tidy up and return, for a moment.
  Attempt.cancelled = host.cancelled

  --- Enqueue another job.
  function Attempt:enqueue(name, args, options)
    local client, message, code = host.client()
    if not client then return nil, message, code end
    local made
    made, message, code = client:queue_at(nil, 2):put(name, args, inherit(self, options), 2)
    return made, message, code
  end

  return Attempt
end

return attempt
