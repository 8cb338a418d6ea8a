-- errors.lua -- the codes that come third in `nil, message, code`. They are API: grown as needed, never
-- renamed. The C core has the same list (csrc/base/status.c).
--
--   local job, err, code = queue:enqueue("resize", args)
--   if code == naq.errors.STORAGE_FULL then ... end

---@alias naq.Code string
---@class naq.Errors
local errors = {
  -- the world
  CONNECTION = "CONNECTION", -- no server, or the connection was lost
  TIMEOUT = "TIMEOUT", -- no answer in the time allowed
  AUTH = "AUTH", -- the server refused the credentials
  PERMISSION = "PERMISSION", -- connected, but not allowed to do this
  NO_JETSTREAM = "NO_JETSTREAM", -- the server or the account has no JetStream
  STORAGE_FULL = "STORAGE_FULL", -- JetStream has no room left
  CONFIGURATION = "CONFIGURATION", -- settings that cannot work, or a stream that differs from naq's
  SERIALIZATION = "SERIALIZATION", -- a value that cannot be written as JSON, or text that is not JSON
  TOO_LARGE = "TOO_LARGE", -- larger than the server takes
  JOB_NOT_FOUND = "JOB_NOT_FOUND",
  NOT_FINISHED = "NOT_FINISHED",
  EXPIRED = "EXPIRED", -- the job ended, and its result was kept as long as it was asked for
  JOB_FAILED = "JOB_FAILED",
  JOB_CANCELLED = "JOB_CANCELLED",
  WRONG_STATE = "WRONG_STATE", -- the job is in a state that does not allow it
  DUPLICATE = "DUPLICATE", -- the id, or the unique key, is taken
  QUEUE_FULL = "QUEUE_FULL",
  KEY_NOT_FOUND = "KEY_NOT_FOUND",
  KEY_EXISTS = "KEY_EXISTS",
  WRONG_REVISION = "WRONG_REVISION", -- a compare-and-set lost
  NOT_LEADER = "NOT_LEADER",
  FORKED = "FORKED", -- a connection opened before a fork, used after it
  CLOSED = "CLOSED",
  UNSUPPORTED = "UNSUPPORTED", -- not in this version
  INVALID = "INVALID", -- bad input: an id, a name
  -- attempts
  JOB_ERROR = "JOB_ERROR", -- the job raised, or returned nil and a message, without a code of its own
  JOB_TIMEOUT = "JOB_TIMEOUT",
  JOB_MEMORY = "JOB_MEMORY",
  JOB_CPU = "JOB_CPU",
  JOB_INSTRUCTIONS = "JOB_INSTRUCTIONS",
  JOB_STUCK = "JOB_STUCK",
  JOB_CRASHED = "JOB_CRASHED",
  DISCARDED = "DISCARDED", -- job:discard()
  UNKNOWN_JOB = "UNKNOWN_JOB",
  UNDECODABLE = "UNDECODABLE",
}

local RETRYABLE = {
  CONNECTION = true,
  TIMEOUT = true,
  STORAGE_FULL = true,
  QUEUE_FULL = true,
  NOT_LEADER = true,
  NOT_FINISHED = true,
}

--- Whether the same call may succeed later without anybody changing it.
---@param code naq.Code?
---@return boolean
function errors.is_retryable(code) return RETRYABLE[code] == true end

-- A misspelt constant would compare as nil and never match; better to hear of it.
return setmetatable(errors, {
  __index = function(_, name) error(("naq.errors has no code '%s'"):format(tostring(name)), 2) end,
})
