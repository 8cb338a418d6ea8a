-- dead_letter.lua -- jobs that were given up: list, show, retry, discard. Reads the stream
-- <prefix>_failed page by page in its order, oldest first; what it holds at a time does not grow with it.
local core = require("naq.core")
local errors = require("naq.errors")
local id_rule = require("naq.id_rule")
local jetstream_api = require("naq.jetstream_api")
local lookup = require("naq.lookup")
local options = require("naq.options")
local revive = require("naq.revive")
local shape = require("naq.shape")

local dead_letter = {}

-- Letters read at a time: more once it turns out that there are many, since each reading has the server look
-- for where it begins.
local FIRST_PAGE, LAST_PAGE = 500, 2000
-- A letter is stored a moment after its failed_at, by another clock.
local CLOCK_SECONDS = 3600

dead_letter.REASONS = {
  "failed", "discarded", "crashed", "timeout", "memory", "cpu", "instructions", "stuck", "undecodable",
  "unknown_job",
}

---@class naq.DeadLetterFilter   all optional
---@field queue string
---@field reason string
---@field job string      the job's name
---@field since number    epoch seconds: failed then or later
---@field until_ number   failed before; written ["until"]
local FILTER = {
  queue = { type = "string", check = id_rule.problem, doc = "only of this queue" },
  reason = { type = "string", one_of = dead_letter.REASONS, doc = "only with this reason" },
  job = { type = "string", doc = "only of this job" },
  since = { type = "number", min = 0, doc = "epoch seconds: failed then or later" },
  ["until"] = { type = "number", min = 0, doc = "epoch seconds: failed before" },
}

local LIST = {
  limit = { type = "integer", min = 1, max = 10000, default = 100, doc = "at most so many on a page" },
  after = { type = "integer", min = 0, doc = "where the page begins: page.next of the one before" },
}
for name, declared in pairs(FILTER) do
  LIST[name] = declared
end

---@class naq.DeadLetter   as `naq failed list --json`
---@field id string
---@field queue string
---@field priority string
---@field job string?       absent where the payload is no job
---@field reason string
---@field failed_at number
---@field error {code: string, message: string, traceback: string?}
---@field attempts table[]  as in job:info()
---@field attempts_cut integer?  earlier ones that were left out
---@field seq integer       its place in the stream
---@field args string?      JSON text
---@field payload string?   JSON text: the job as it was on its queue
---@field payload_base64 string?  where that was no JSON

---@class naq.DeadLetters
---@field client naq.Client
local DeadLetters = {}
DeadLetters.__index = DeadLetters
DeadLetters.__name = "naq.DeadLetters"

---@param client naq.Client
---@return naq.DeadLetters
function dead_letter.new(client) return setmetatable({ client = client }, DeadLetters) end

-- The letter of a message, or what can be said about one that is none.
local function read(subject, data, seq, stored_at)
  local letter = core.letter(data) or {}
  local queue, id = subject:match("([^.]+)%.([^.]+)$")
  letter.id, letter.queue = id, queue
  letter.priority = letter.priority or "normal"
  letter.enqueued_at = shape.time(letter.enqueued_at)
  letter.failed_at = shape.time(letter.failed_at) or stored_at
  letter.error = shape.failure(letter.error)
  letter.attempts = shape.attempts(letter.attempts) or core.array({})
  letter.seq = seq
  return letter
end

local function matches(letter, filter)
  return (not filter.reason or letter.reason == filter.reason)
    and (not filter.job or letter.job == filter.job)
    and (not filter.since or letter.failed_at >= filter.since)
    and (not filter["until"] or letter.failed_at < filter["until"])
end

-- One page of the stream, unfiltered but for the queue: messages and where the next begins; message, code.
local function browse(client, filter, from, limit)
  local rows, next_from, code = client.conn:browse(client.prefix .. "_failed", {
    filter = ("%s.f.%s.*"):format(client.prefix, filter.queue or "*"),
    from = from,
    since = filter.since and math.max(0, filter.since - CLOCK_SECONDS),
    limit = limit,
  })
  if rows then return rows, next_from end
  if code == errors.KEY_NOT_FOUND then return {} end
  return nil, ("dead letters: %s"):format(next_from), code
end

-- The last sequence there is now: what comes later, a retried job that failed again, is not meant.
local function last_sequence(client)
  local info, message, code = jetstream_api.call(client.conn, "STREAM.INFO", client.prefix .. "_failed")
  if info then return info.state.last_seq end
  if code == errors.KEY_NOT_FOUND then return 0 end
  return nil, message, code
end

--- A page of the letters that match, oldest first. page.next, where it is there, is the `after` of the next
--- page.
---@param filter? table  naq.DeadLetterFilter, limit (100), after
---@return naq.DeadLetter[]? page, string? message, naq.Code? code
function DeadLetters:list(filter)
  local client = self.client:use(2)
  filter = options.apply(LIST, filter, 2)
  local page, from, size = {}, filter.after or 0, FIRST_PAGE
  repeat
    local rows, next_from, code = browse(client, filter, from, size)
    if not rows then return nil, next_from, code end
    for _, row in ipairs(rows) do
      local letter = read(row.subject, row.data, row.seq, row.time)
      if matches(letter, filter) then
        page[#page + 1] = letter
        if #page == filter.limit then
          page.next = (row ~= rows[#rows] or next_from) and row.seq + 1 or nil
          return page
        end
      end
    end
    from, size = next_from, LAST_PAGE
  until not from
  return page
end

--- All letters that match and were there when it began, oldest first:
---   for letter, message, code in client:failed():each({ queue = "mail" }) do ... end
--- When the server cannot be read the last round has false, message, code.
---@param filter? naq.DeadLetterFilter
---@return fun(): naq.DeadLetter|false|nil, string?, naq.Code?
function DeadLetters:each(filter)
  local client = self.client:use(2)
  filter = options.apply(FILTER, filter, 2)
  local rows, at, from, size, last = {}, 0, 0, FIRST_PAGE, nil
  local function stop(message, code)
    rows, at, from = {}, 0, nil
    return false, message, code
  end
  return function()
    if not last then
      local message, code
      last, message, code = last_sequence(client)
      if not last then return stop(message, code) end
    end
    while true do
      at = at + 1
      local row = rows[at]
      if row then
        if row.seq > last then
          stop()
          return nil
        end
        rows[at] = false
        local letter = read(row.subject, row.data, row.seq, row.time)
        if matches(letter, filter) then return letter end
      else
        if not from then return nil end
        local page, next_from, code = browse(client, filter, from, size)
        if not page then return stop(next_from, code) end
        rows, at, from, size = page, 0, next_from, LAST_PAGE
      end
    end
  end
end

-- text, subject, seq, time of a job's letter. Its record names the queue; without one the server is
-- asked which subject ends in the id.
local function find(client, id, queue)
  local record
  if not queue then record = lookup.record(client, id) end
  queue = queue or (record and record.state == "failed" and record.queue)
  local subject, message, code
  if queue then
    subject = ("%s.f.%s.%s"):format(client.prefix, queue, id)
  else
    subject, message, code = lookup.subject_ending(client, "_failed", "f", id)
    if code then return nil, message, code end
  end
  local text, info
  if subject then
    text, info, code = client.conn:last_msg(client.prefix .. "_failed", subject)
  end
  if text then return text, subject, info end
  if not subject or code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION then
    return nil, ("job %s: there is no dead letter of it"):format(id), errors.JOB_NOT_FOUND
  end
  return nil, info, code
end

local function check(id, level)
  if type(id) ~= "string" then error("a job's id must be a string, not a " .. type(id), level + 1) end
  return id_rule.of_job(id)
end

--- The whole letter of a job.
---@param id string
---@param queue? string  spares a look for it
---@return naq.DeadLetter? letter, string? message, naq.Code? code  JOB_NOT_FOUND, INVALID
function DeadLetters:show(id, queue)
  local client = self.client:use(2)
  local valid, message, code = check(id, 2)
  if not valid then return nil, message, code end
  local text, subject, info = find(client, id, queue)
  if not text then return nil, subject, info end
  return read(subject, text, info.seq, info.time)
end

--- Run the job again: same id, attempt 1 with all its retries, its history kept. The letter goes.
---@param id string
---@param queue? string
---@return true? done, string? message, naq.Code? code
---        JOB_NOT_FOUND, WRONG_STATE (tried again already, or it has ended since), UNDECODABLE
function DeadLetters:retry(id, queue)
  local client = self.client:use(2)
  local valid, message, code = check(id, 2)
  if not valid then return nil, message, code end
  local text, subject, info = find(client, id, queue)
  if not text then return nil, subject, info end
  local done
  done, message, code = revive.letter(client, read(subject, text, info.seq, info.time), text, info.seq)
  return done, message, code
end

--- Delete the letter. The job's record stays and says that it failed.
---@param id string
---@param queue? string
---@return true? done, string? message, naq.Code? code  JOB_NOT_FOUND
function DeadLetters:discard(id, queue)
  local client = self.client:use(2)
  local valid, message, code = check(id, 2)
  if not valid then return nil, message, code end
  local text, subject, info = find(client, id, queue)
  if not text then return nil, subject, info end
  local gone
  gone, message, code = revive.delete(client, "_failed", info.seq)
  return gone, message, code
end

--- How many there are, of one queue or of all.
---@param queue? string
---@return integer? count, string? message, naq.Code? code
function DeadLetters:count(queue)
  local client = self.client:use(2)
  local filter = ("%s.f.%s.*"):format(client.prefix, queue or "*")
  local count, message, code = jetstream_api.count_subjects(client.conn, client.prefix .. "_failed", filter)
  if count then return count end
  if code == errors.KEY_NOT_FOUND then return 0 end
  return nil, message, code
end

--- Delete all letters there are now, of one queue or of all.
---@param queue? string
---@return integer? deleted, string? message, naq.Code? code
function DeadLetters:purge(queue)
  local client = self.client:use(2)
  if queue ~= nil then options.apply(FILTER, { queue = queue }, 2) end
  local last, message, code = last_sequence(client)
  if not last then return nil, message, code end
  if last == 0 then return 0 end
  local body = { filter = ("%s.f.%s.*"):format(client.prefix, queue or "*"), seq = last + 1 }
  local answer
  answer, message, code = jetstream_api.call(client.conn, "STREAM.PURGE", client.prefix .. "_failed", body)
  if answer then return answer.purged or 0 end
  return nil, ("dead letters: %s"):format(message), code
end

-- job:retry() -------------------------------------------------------------------------------------

--- Run a job again by its handle: a failed one, a retry that waits (now), a cancelled one whose record kept
--- its payload. Any other is refused.
---@param handle naq.Job
---@return true? done, string? message, naq.Code? code  WRONG_STATE, JOB_NOT_FOUND, UNDECODABLE
function DeadLetters:retry_job(handle)
  local client, id = self.client, handle.id
  local found, message, code = lookup.locate(client, id, handle)
  if not found then
    if code ~= errors.JOB_NOT_FOUND and code ~= errors.EXPIRED then return nil, message, code end
    -- The letter may outlive the record.
    local done, why, why_code = self:retry(id)
    if done or why_code ~= errors.JOB_NOT_FOUND then return done, why, why_code end
    return nil, message, code
  end
  local done
  if found.state == "failed" then
    done, message, code = self:retry(id, found.queue)
    if code == errors.JOB_NOT_FOUND then
      message = ("job %s: its dead letter is gone, and with it what it was given"):format(id)
    end
  elseif found.state == "retry" then
    done, message, code = revive.now(client, id)
  elseif found.state == "cancelled" then
    local text = client.conn:find_record(client.prefix, id)
    local letter = core.letter(text or "{}") or {}
    letter.id = id
    if letter.payload and letter.queue and letter.priority then
      done, message, code = revive.letter(client, letter, text)
    else
      message, code = ("job %s: it was cancelled, and is not kept"):format(id), errors.WRONG_STATE
    end
  else
    local is = found.state == "completed" and "has completed" or "is " .. found.state
    local told = "job %s: it %s; only failed and cancelled jobs and waiting retries are run again"
    message, code = told:format(id, is), errors.WRONG_STATE
  end
  if done then return true end
  return nil, message, code
end

return dead_letter
