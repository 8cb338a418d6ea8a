-- lookup.lua -- one job found by its id: its record, else its message on a queue or in the delayed
-- store, else nothing.
--
-- A job moves while it is looked for (queue -> record, delayed store -> queue), always by writing to the
-- new place before it leaves the old one. So a look that finds nothing is repeated once before it counts.
local core = require("naq.core")
local errors = require("naq.errors")
local guess = require("naq.guess")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local shape = require("naq.shape")
local workers = require("naq.workers")

local lookup = {}

-- How long workers may take to say whether they run a job. One that has died since its last heartbeat
-- costs all of it.
local ANSWER_SECONDS = 0.25

---@class naq.Found
---@field state string
---@field queue string?
---@field priority string?
---@field record table?    the decoded record
---@field payload table?   the decoded payload of a job that has not ended
---@field stored_at number?  when the stream took the message
---@field stream string?    where its message is, its sequence there, and what it says
---@field seq integer?
---@field data string?
---@field due number?      when it leaves the delayed store
---@field runner {worker: string, queue: string?, started_at: number?}?

local function nowhere(code) return code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION end

local function not_found(id) return nil, ("job %s: not found"):format(id), errors.JOB_NOT_FOUND end

local function decoded(text)
  local value = text and core.decode(text)
  return type(value) == "table" and value or nil
end

--- A job's record, decoded. JOB_NOT_FOUND when there is none, EXPIRED when it has outlived its time.
---@param client naq.Client
---@param id string
---@return table? record, string? message, naq.Code? code
function lookup.record(client, id)
  local there, text, message, code
  there, message, code = jetstream_api.laid_out(client)
  if there == false then return not_found(id) end
  if not there then return nil, message, code end
  text, message, code = client.conn:find_record(client.prefix, id)
  if not text then
    if nowhere(code) then return not_found(id) end
    return nil, message, code
  end
  local record
  record, message, code = core.decode(text)
  if type(record) ~= "table" then
    message = ("job %s: its record cannot be read: %s"):format(id, message or "no object")
    return nil, message, code or errors.SERIALIZATION
  end
  local expires_at = tonumber(record.expires_at)
  if expires_at and expires_at < core.now() then
    return nil, ("job %s: ended, and its record has expired"):format(id), errors.EXPIRED
  end
  return record
end

-- data, info of the last stored message whose subject matches; nil alone when there is none. An exact subject
-- costs the server nothing; a wildcard is matched against every subject of the stream.
local function stored(client, stream, subject)
  local data, info, code = client.conn:last_msg(stream, subject)
  if data then return data, info end
  if nowhere(code) then return nil end
  return nil, info, code
end

--- The subject <prefix>.<kind>.*.<id> in one of naq's streams; nil alone when there is none.
---@param stream string  "_failed", "_delayed"
---@param kind string    "f", "d"
---@return string? subject, string? message, naq.Code? code
function lookup.subject_ending(client, stream, kind, id)
  local filter = ("%s.%s.*.%s"):format(client.prefix, kind, id)
  local data, info, code = stored(client, client.prefix .. stream, filter)
  if not data then return nil, info, code end
  return info.subject
end

--- What a message on a queue is, as far as it says itself: whether it runs is the workers' to say.
---@return naq.Found
function lookup.pending(stream, data, info)
  local queue, priority = info.subject:match("([^.]+)%.([^.]+)%.[^.]+$")
  return {
    state = "pending",
    queue = queue,
    priority = priority,
    payload = decoded(data),
    stored_at = info.time,
    stream = stream,
    seq = info.seq,
    data = data,
  }
end

-- The job on one queue, with one priority, as it is stored there.
local function at(client, stream, subject)
  local data, info, code = stored(client, stream, subject)
  if not data then return nil, info, code end
  return lookup.pending(stream, data, info)
end

-- What was stored behind a sequence: cheap, whatever stands before it.
local function behind(client, stream, subject, seq)
  local found, message, code = client.conn:get_msg(stream, seq + 1, subject)
  if found then
    local info = { subject = found.subject, seq = found.seq, time = found.timestamp }
    return lookup.pending(stream, found.data, info)
  end
  if nowhere(code) then return nil end
  return nil, message, code
end

-- Where the message of a job waits on its queue: one exact read when queue and priority are known, a few
-- for each queue that comes to mind when they are not, and the whole stream is searched last: that far
-- `searched` remembers, for a second look.
local function on_queue(client, id, hint, searched)
  local stream = client.prefix .. "_jobs"
  local found, message, code
  if hint and hint.queue and hint.priority then
    found, message, code =
      at(client, stream, ("%s.q.%s.%s.%s"):format(client.prefix, hint.queue, hint.priority, id))
    return found, message, code
  end
  local anywhere = ("%s.q.*.*.%s"):format(client.prefix, id)
  if searched.to then
    found, message, code = behind(client, stream, anywhere, searched.to)
    return found, message, code
  end
  local queues, last
  queues, last, code = guess.queues(client, id)
  if not queues then return nil, last, code end
  for _, queue in ipairs(queues) do
    for _, priority in ipairs(job.PRIORITIES) do
      found, message, code = at(client, stream, ("%s.q.%s.%s.%s"):format(client.prefix, queue, priority, id))
      if found or code then return found, message, code end
    end
  end
  found, message, code = at(client, stream, anywhere)
  searched.to = last
  return found, message, code
end

local function in_delayed_store(client, id)
  local stream = client.prefix .. "_delayed"
  local data, info, code = stored(client, stream, ("%s.d.*.%s"):format(client.prefix, id))
  if not data then return nil, info, code end
  return lookup.delayed(stream, data, info)
end

--- What a message in the delayed store is.
---@param stream string
---@param data string
---@param info {seq: integer, time: number, headers: table<string, string>?}
---@return naq.Found
function lookup.delayed(stream, data, info)
  local payload, headers = decoded(data), info.headers or {}
  local queue, priority = (headers["Naq-To"] or ""):match("^([^.]+)%.([^.]+)$")
  local due = shape.time((tonumber(headers["Naq-Due"]) or -1) / 1000)
  -- A job that was only put off has a hop too, but no failed attempt.
  local failed = payload and (shape.count(payload.attempt) or 1) > 1
  return {
    state = failed and "retry" or "scheduled",
    queue = queue,
    priority = priority,
    payload = payload,
    stored_at = info.time,
    stream = stream,
    seq = info.seq,
    data = data,
    due = due,
  }
end

--- A job's message in the delayed store, as it is stored; nil alone when it is not there.
---@return string? data, {seq: integer, time: number, headers: table}|string|nil info, naq.Code? code
function lookup.delayed_message(client, id)
  local data, info, code =
    stored(client, client.prefix .. "_delayed", ("%s.d.*.%s"):format(client.prefix, id))
  return data, info, code
end

--- Whether a job waits to run: on its queue, or in the delayed store. nil alone: no.
---@return naq.Found? found, string? message, naq.Code? code
function lookup.waiting(client, id, hint)
  local found, message, code = on_queue(client, id, hint, {})
  if found or code then return found, message, code end
  found, message, code = in_delayed_store(client, id)
  return found, message, code
end

-- The answer of the worker that runs the job, asked of all that live.
local function ask_workers(client, id)
  local list, message, code = workers.list(client)
  if not list then return nil, message, code end
  local living = 0
  for _, worker in ipairs(list) do
    if not worker.stale then living = living + 1 end
  end
  if living == 0 then return nil end
  local subject = client.prefix .. ".w.running"
  local answers
  answers, message, code = client.conn:request_many(subject, id, living, ANSWER_SECONDS, '"running":true')
  if not answers then return nil, message, code end
  for _, text in ipairs(answers) do
    local answer = decoded(text)
    if answer and answer.running == true then return answer end
  end
  return nil
end

-- One look at every place. nil alone: in none of them.
local function look(client, id, hint, searched)
  local record, message, code = lookup.record(client, id)
  if not record and code ~= errors.JOB_NOT_FOUND then return nil, message, code end
  if record and job.TERMINAL[record.state] then
    return { state = record.state, queue = record.queue, priority = record.priority, record = record }
  end

  if record and record.queue and record.priority and not (hint and hint.queue) then hint = record end
  local found
  found, message, code = on_queue(client, id, hint, searched)
  if code then return nil, message, code end
  if found then
    -- Nobody but the workers knows: a claim stays as it is when its worker dies.
    local runner
    runner, message, code = ask_workers(client, id)
    if code then return nil, message, code end
    if runner then
      found.state, found.runner = "running", runner
    end
    return found
  end

  found, message, code = in_delayed_store(client, id)
  if found or code then return found, message, code end
  return nil
end

--- Find a job. `hint` may carry its queue and priority, which spares a search through the stream.
---@param client naq.Client
---@param id string
---@param hint? {queue: string?, priority: string?}
---@return naq.Found? found, string? message, naq.Code? code  JOB_NOT_FOUND, EXPIRED
function lookup.locate(client, id, hint)
  local there, problem, why = jetstream_api.laid_out(client)
  if there == false then return not_found(id) end
  if not there then return nil, problem, why end
  local searched = {}
  for _ = 1, 2 do
    local found, message, code = look(client, id, hint, searched)
    if found or code then return found, message, code end
  end
  -- One that runs while its queue was purged is nowhere until it ends.
  local runner, message, code = ask_workers(client, id)
  if code then return nil, message, code end
  if runner then
    local queue = runner.queue or hint and hint.queue
    return { state = "running", queue = queue, priority = hint and hint.priority, runner = runner }
  end
  return not_found(id)
end

--- Whether no job has the id: no record, no message on a queue or in the delayed store.
---@return true? free, string? message, naq.Code? code  DUPLICATE
function lookup.id_is_free(client, id)
  local record, found, message, code
  record, message, code = client.conn:find_record(client.prefix, id)
  if not record and code ~= errors.JOB_NOT_FOUND and not nowhere(code) then return nil, message, code end
  if not record then
    found, message, code = on_queue(client, id, nil, {})
    if not found and not code then
      found, message, code = in_delayed_store(client, id)
    end
    if code then return nil, message, code end
  end
  if record or found then return nil, ("there is a job %s already"):format(id), errors.DUPLICATE end
  return true
end

-- A queue's share of the delayed store is found by reading the header of each message.
local MOST_READ = 1000

--- How many jobs of each queue wait in the delayed store; nil alone where there are too many to read.
---@return table<string, integer>? counts, string? message, naq.Code? code
function lookup.delayed_by_queue(client)
  local stream, filter = client.prefix .. "_delayed", client.prefix .. ".d.>"
  local count, message, code = jetstream_api.count_subjects(client.conn, stream, filter)
  if not count then
    if nowhere(code) then return {} end
    return nil, message, code
  end
  if count > MOST_READ then return nil end
  local subjects, done = {}
  done, message, code = jetstream_api.each_subject(client.conn, stream, filter, function(subject)
    subjects[#subjects + 1] = subject
  end)
  if not done then return nil, message, code end
  local counts = {}
  for _, subject in ipairs(subjects) do
    local data, info
    data, info, code = stored(client, stream, subject)
    if code then return nil, info, code end
    local queue = data and info.headers and (info.headers["Naq-To"] or ""):match("^[^.]+")
    if queue then counts[queue] = (counts[queue] or 0) + 1 end
  end
  return counts
end

return lookup
