-- testing_conn.lua -- what stands for a connection in naq.testing: the few functions that putting jobs on
-- queues needs, each with the answer that a server would give. Everything else needs a server.
local core = require("naq.core")
local errors = require("naq.errors")

-- Bytes of a job on a server with its own settings (max_payload 1 MB, less what naq leaves free).
local MAX_JOB = 1048576 - 4096

local Conn = {}
Conn.__index = function(_, name)
  return Conn[name]
    or error(("naq.testing has no %s() without a server; see naq.testing.server()"):format(tostring(name)), 3)
end

local testing_conn = {}

--- store:accept(queue, priority, id, payload, due) -> true, or false when there is such a job.
---@param store table
function testing_conn.new(store) return setmetatable({ store = store, seq = 0 }, Conn) end

function Conn.close() end

function Conn.max_job() return MAX_JOB end

function Conn.ensure_layout() return { created = {}, differs = {} } end

local function accept(self, queue, priority, id, payload, due)
  if not self.store:accept(queue, priority, id, payload, due) then return nil end
  self.seq = self.seq + 1
  return self.seq
end

function Conn:js_publish(subject, payload)
  local queue, priority, id = subject:match("%.q%.([^.]+)%.([^.]+)%.([^.]+)$")
  local seq = accept(self, queue, priority, id, payload)
  if seq then return seq, false end
  return nil, ("there is a job %s already"):format(id), errors.DUPLICATE
end

function Conn:put_delayed(_, queue, priority, id, due, payload)
  local seq = accept(self, queue, priority, id, payload, due)
  if seq then return seq end
  return nil, ("there is a job %s already"):format(id), errors.DUPLICATE
end

local function enqueue_one(self, entry, defaults, prepare)
  local queue, priority, id, fields, due = defaults.queue, "normal", nil, nil, nil
  if entry[3] ~= nil then
    queue, priority, id, fields, due = prepare(entry[3])
    if not queue then return nil, priority, id end
  end
  id = id or core.new_id()
  local payload, message, code = core.payload(entry[1], entry[2], fields)
  if not payload then return nil, message, code end
  if #payload > MAX_JOB then
    return nil, ("payload: %d bytes, and a job may have %d"):format(#payload, MAX_JOB), errors.TOO_LARGE
  end
  if accept(self, queue, priority, id, payload, due) then return id end
  return nil, ("there is a job %s already"):format(id), errors.DUPLICATE
end

function Conn:enqueue_many(list, defaults, prepare)
  local ids, refused = {}, {}
  for i = 1, #list do
    local id, message, code = enqueue_one(self, list[i], defaults, prepare)
    ids[i] = id or false
    if not id then refused[i] = { code = code, message = message } end
  end
  return ids, refused
end

-- Whether an id is free is asked of the records, then of the streams.
function Conn:find_record(_, id)
  if self.store.by_id[id] then return "{}", 1, "naq_results_7d" end
  return nil, ("job %s: no record"):format(id), errors.JOB_NOT_FOUND
end

function Conn.last_msg() return nil, "no message", errors.KEY_NOT_FOUND end

function Conn.request(_, subject)
  if subject:find("STREAM.INFO", 1, true) then
    return '{"error":{"code":404,"err_code":10059,"description":"stream not found"}}'
  end
  error("this needs a server; see naq.testing.server()", 3)
end

return testing_conn
