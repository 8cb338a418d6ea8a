-- What really happened to jobs: the lines that spec/crash/jobs/marks.lua leaves behind, and what NATS
-- holds at the end.

local core = require("naq.core")
local eventually = require("spec.support.eventually")
local jetstream_api = require("naq.jetstream_api")

local Trail = {}
Trail.__index = Trail

local trail = {}

--- A folder with an empty trail: {path =, gate = (a file that open() makes)}.
function trail.new()
  local dir = assert(core.mkdtemp("naq-spec-trail"))
  return setmetatable({ dir = dir, path = dir .. "/trail", gate = dir .. "/gate" }, Trail)
end

function Trail:remove() core.rmtree(self.dir) end

--- Arguments of a job that leaves its line here, with these besides.
function Trail:args(more)
  local args = { trail = self.path, gate = self.gate }
  for k, v in pairs(more or {}) do
    args[k] = v
  end
  return args
end

--- Let the jobs that wait at the gate go on.
function Trail:open() assert(io.open(self.gate, "wb")):close() end

--- All lines so far, by job id, and their number.
---@return table<string, {attempt: integer, pid: integer, at: number}[]> runs, integer count
function Trail:runs()
  local runs, count = {}, 0
  local f = io.open(self.path, "rb")
  if not f then return runs, 0 end
  for id, attempt, pid, at in f:read("*a"):gmatch("(%S+) (%d+) (%d+) (%S+)\n") do
    runs[id] = runs[id] or {}
    table.insert(runs[id], { attempt = tonumber(attempt), pid = tonumber(pid), at = tonumber(at) })
    count = count + 1
  end
  f:close()
  return runs, count
end

--- Wait until so many lines are there.
function Trail:reaches(count, seconds)
  eventually(function()
    local _, n = self:runs()
    return n >= count, n
  end, seconds or 30, count .. " runs")
end

--- How many messages a stream holds.
function trail.messages(client, stream)
  return assert(jetstream_api.call(client.conn, "STREAM.INFO", stream)).state.messages
end

-- What the consumers have left for workers.
local function to_deliver(client)
  local n = 0
  assert(jetstream_api.each_consumer(client.conn, "naq_jobs", function(info) n = n + info.num_pending end))
  return n
end

local CLASSES = { "1h", "1d", "7d", "30d", "forever" }

--- The records of all jobs: id -> record. Fails when one id has two.
function trail.records(client)
  local records = {}
  for _, class in ipairs(CLASSES) do
    for _, entry in ipairs(assert(client.conn:kv_entries("naq_results_" .. class))) do
      if records[entry.key] then error("two records of job " .. entry.key) end
      records[entry.key] = assert(core.decode(entry.value))
    end
  end
  return records
end

local TERMINAL = { completed = true, failed = true, cancelled = true }

local function total(client)
  local n = 0
  for _, class in ipairs(CLASSES) do
    n = n + trail.messages(client, "KV_naq_results_" .. class)
  end
  return n
end

--- Wait until every job of the list has ended: nothing on the queues, nothing delayed, nothing that a
--- worker holds. Then their records, by id; each has one, and there are no others.
--- after_a_kill: nats-server 2.9.10 that was killed may keep messages in the stream whose acks its
--- consumers remember, and hand them out to nobody; what counts then is what is left to deliver.
---@param ids string[]
function trail.all_ended(client, ids, seconds, after_a_kill)
  local records
  -- The server may have been started again a moment ago, and the end of the old one not be known yet.
  eventually(function() return client.conn:request("$JS.API.INFO", "", 2) end, 10, "the server")
  eventually(function()
    local queued = after_a_kill and to_deliver(client) or trail.messages(client, "naq_jobs")
    local delayed = trail.messages(client, "naq_delayed")
    local stored = total(client)
    if queued > 0 or delayed > 0 or stored < #ids then
      return false, ("%d queued, %d delayed, %d of %d records"):format(queued, delayed, stored, #ids)
    end
    -- A job on its way from one place to the other is in neither for a moment.
    records = trail.records(client)
    for _, id in ipairs(ids) do
      local record = records[id]
      if not record or not TERMINAL[record.state] then
        return false, ("job %s is %s"):format(id, record and record.state or "without a record")
      end
    end
    return true
  end, seconds or 60, #ids .. " jobs to end")
  local n = 0 -- not the streams' messages: a cancel that came too late leaves a marker where its record was
  for _ in pairs(records) do
    n = n + 1
  end
  if n ~= #ids then error(("%d records of %d jobs"):format(n, #ids)) end
  return records
end

--- The dead letters: id -> letter; of one id only where it is given. A letter that carries what no Lua
--- value holds stays text.
function trail.letters(client, only)
  local letters, filter = {}, "naq.f.*." .. (only or "*")
  assert(jetstream_api.each_subject(client.conn, "naq_failed", filter, function(subject)
    local text = assert(client.conn:last_msg("naq_failed", subject))
    letters[subject:match("[^.]+$")] = core.decode(text) or text
  end))
  return letters
end

return trail
