-- schedule.lua -- recurring schedules: made, looked at, changed. They stand in the bucket <prefix>_schedules
-- (schedule_store.lua), where the scheduler that leads watches them (csrc/run/recurring.h).
local core = require("naq.core")
local errors = require("naq.errors")
local lookup = require("naq.lookup")
local running = require("naq.running")
local schedule_record = require("naq.schedule_record")
local store = require("naq.schedule_store")

local TRIES = 50
local RECENT = 20

local schedule = {}

local context, not_found = store.context, store.not_found
local id_problem = schedule_record.id_problem

local function check_id(id, level)
  if type(id) ~= "string" then
    error(("a schedule's id must be a string, not a %s"):format(type(id)), level + 1)
  end
end

---@class naq.Schedule
---@field id string
---@field client naq.Client
---@field edition integer?  of the record that was last seen through this handle
local Schedule = {}
Schedule.__index = Schedule
Schedule.__name = "naq.Schedule"
Schedule.__tostring = function(self) return "naq.Schedule " .. self.id end

local function handle(client, id, record)
  return setmetatable({ client = client, id = id, edition = record.edition }, Schedule)
end

-- What a change came to: the row, the handle knowing the new edition.
local function changed(self, record, message, code)
  if not record then return nil, message, code end
  self.edition = record.edition
  return schedule_record.row(self.id, record)
end

--- Create a schedule. One that has finished or was cancelled gives way to a new one of its id.
---@param client naq.Client
---@param queue string
---@param id string
---@param definition naq.ScheduleDefinition
---@param level integer  where misuse raises; 1: the calling function
---@return naq.Schedule? made, string? message, naq.Code? code  KEY_EXISTS, INVALID, SERIALIZATION, TOO_LARGE
function schedule.create(client, queue, id, definition, level)
  check_id(id, level + 1)
  schedule_record.check(definition, level + 1)
  local problem = id_problem(id)
  if problem then return nil, problem, errors.INVALID end
  local old, revision, code, unread = store.read(client, id)
  if code and not unread then return nil, revision, code end
  if unread or (old and old.state ~= "finished" and old.state ~= "cancelled") then
    return nil, context(id, "there is one already"), errors.KEY_EXISTS
  end
  local record, message
  record, message, code = schedule_record.new(definition, definition.queue or queue, core.now(), old)
  if not record then return nil, context(id, message), code end
  local made
  made, message, code = store.write(client, id, record, revision)
  if not made then
    if code == errors.WRONG_REVISION then code = errors.KEY_EXISTS end
    return nil, message, code
  end
  return handle(client, id, record)
end

--- The handle of a schedule.
---@param client naq.Client
---@param id string
---@param level integer
---@return naq.Schedule? found, string? message, naq.Code? code  KEY_NOT_FOUND
function schedule.find(client, id, level)
  check_id(id, level + 1)
  local problem = id_problem(id)
  if problem then return nil, problem, errors.INVALID end
  local record, revision, code = store.read(client, id)
  if not record then
    if code then return nil, revision, code end
    return not_found(id)
  end
  return handle(client, id, record)
end

-- How the last run ended, or stands. `asked.running`: what runs, as the workers say once they are asked.
local function last_state(client, row, asked)
  if not row.last_job then return nil end
  local record, _, code = lookup.record(client, row.last_job)
  if record and record.state ~= "retry" then return record.state end
  if not record and code ~= errors.JOB_NOT_FOUND then return nil end
  local found = lookup.waiting(client, row.last_job, row)
  if not found or found.state ~= "pending" then return found and found.state end
  asked.running = asked.running or running.jobs(client) or {}
  return asked.running[row.last_job] and "running" or "pending"
end

--- All schedules, sorted by id, as rows; what cannot be read is `failed` and says why.
---@param client naq.Client
---@return naq.ScheduleInfo[]? rows, string? message, naq.Code? code
function schedule.list(client)
  if not store.laid_out(client) then return {} end
  local entries, message, code = client.conn:kv_entries(store.bucket(client))
  if not entries then
    if code == errors.CONFIGURATION or code == errors.KEY_NOT_FOUND then return {} end
    return nil, message, code
  end
  local rows, asked = {}, {}
  for i, entry in ipairs(entries) do
    local record, problem, problem_code = store.parse(entry.key, entry.value)
    if record then
      rows[i] = schedule_record.row(entry.key, record)
      rows[i].last_state = last_state(client, rows[i], asked)
    else
      rows[i] = { id = entry.key, state = "failed", error = { code = problem_code, message = problem } }
    end
  end
  table.sort(rows, function(a, b) return a.id < b.id end)
  return rows
end

-- A leader that has just died is replaced sooner.
local OVERDUE_SECONDS = 10

--- The ids of active schedules whose time has passed and that were not run: sorted.
---@param client naq.Client
---@return string[]? ids, string? message, naq.Code? code
function schedule.overdue(client)
  if not store.laid_out(client) then return {} end
  local entries, message, code = client.conn:kv_entries(store.bucket(client))
  if not entries then return nil, message, code end
  local ids = {}
  for _, entry in ipairs(entries) do
    local record = store.parse(entry.key, entry.value)
    local due = record and record.state == "active" and tonumber(record.next_run)
    local late = due and core.now() - due - (tonumber(record.jitter) or 0)
    if late and late > OVERDUE_SECONDS then ids[#ids + 1] = entry.key end
  end
  table.sort(ids)
  return ids
end

--- How it stands; shape as `naq schedule show --json`. From then on modify() builds on this.
---@return naq.ScheduleInfo? row, string? message, naq.Code? code  KEY_NOT_FOUND
function Schedule:info()
  local client = self.client:use(2)
  local record, revision, code = store.read(client, self.id)
  if not record then
    if code then return nil, revision, code end
    return not_found(self.id)
  end
  local row = changed(self, record)
  row.last_state = last_state(client, row, {})
  return row
end

local function wrong_state(record)
  return nil, ("it is %s"):format(tostring(record.state)), errors.WRONG_STATE
end

--- No run from now on, until resume().
---@return naq.ScheduleInfo? row, string? message, naq.Code? code  WRONG_STATE: finished or cancelled
function Schedule:pause()
  local row, message, code = changed(self, store.change(self.client:use(2), self.id, function(record)
    if record.state == "paused" then return "as it is" end
    if record.state == "finished" or record.state == "cancelled" then return wrong_state(record) end
    record.state, record.next_run = "paused", nil
    return true
  end))
  return row, message, code
end

--- Run again, one that was paused or has failed: from now on, what it missed meanwhile is gone.
---@return naq.ScheduleInfo? row, string? message, naq.Code? code  WRONG_STATE
function Schedule:resume()
  local row, message, code = changed(self, store.change(self.client:use(2), self.id, function(record)
    if record.state == "active" then return "as it is" end
    if record.state ~= "paused" and record.state ~= "failed" then return wrong_state(record) end
    record.state, record.failures, record.error, record.held = "active", nil, nil, nil
    return schedule_record.aim(record, core.now())
  end))
  return row, message, code
end

--- For good; a new one may have its id. What has been put on a queue stays there.
---@return naq.ScheduleInfo? row, string? message, naq.Code? code
function Schedule:cancel()
  local row, message, code = changed(self, store.change(self.client:use(2), self.id, function(record)
    if record.state == "cancelled" then return "as it is" end
    record.state, record.next_run, record.held = "cancelled", nil, nil
    return true
  end))
  return row, message, code
end

--- Cancel it and remove its record.
---@return true? done, string? message, naq.Code? code
function Schedule:delete()
  local client = self.client:use(2)
  local done, message, code = client.conn:kv_purge(store.bucket(client), self.id)
  if not done then return nil, context(self.id, message), code end
  return true
end

--- Change what it is: the options of its making, args too; naq.null unsets one. cron and interval replace
--- each other, the next run is computed anew. Refused when somebody else has changed it since this
--- handle saw it (info() looks again).
---@param changes table
---@return naq.ScheduleInfo? row, string? message, naq.Code? code  WRONG_REVISION, WRONG_STATE, INVALID
function Schedule:modify(changes)
  local row, message, code = self:modify_at(changes, 2)
  return row, message, code
end

--- modify() for functions that raise on behalf of their caller.
function Schedule:modify_at(changes, level)
  local client = self.client:use(level + 1)
  schedule_record.check_changes(changes, level + 1)
  return changed(self, store.change(client, self.id, function(record)
    if record.state == "cancelled" then return wrong_state(record) end
    return schedule_record.change(record, changes, core.now())
  end, self.edition))
end

--- The handles of its latest runs, at most 20, the newest first.
---@return naq.Job[]? jobs, string? message, naq.Code? code
function Schedule:runs()
  local client = self.client:use(2)
  local record, revision, code = store.read(client, self.id)
  if not record then
    if code then return nil, revision, code end
    return not_found(self.id)
  end
  local jobs, recent = {}, type(record.recent) == "table" and record.recent or {}
  for i = #recent, 1, -1 do
    jobs[#jobs + 1] = client:job(("%s-%.0f"):format(self.id, recent[i]))
  end
  return jobs
end

-- Publish a run with the id of this millisecond, or of the next one that is free.
local function publish(client, id, record)
  local payload = {}
  for name, value in pairs(record.payload) do
    payload[name] = value
  end
  payload.enqueued_at = core.now()
  local text, message, code = core.encode(payload)
  if not text then return nil, message, code end
  local ms = math.floor(core.now() * 1000)
  for at = ms, ms + 9 do
    local run = ("%s-%.0f"):format(id, at)
    local subject = ("%s.q.%s.%s.%s"):format(client.prefix, record.queue, record.priority or "normal", run)
    local seq, duplicate
    seq, duplicate, code = client.conn:js_publish(subject, text, run .. ":0")
    if seq and not duplicate then return at end
    if not seq and code ~= errors.DUPLICATE then return nil, duplicate, code end
  end
  return nil, "it is being run by others just now", errors.DUPLICATE
end

--- Run it now, once more: its next run and the number of its runs stay as they are.
---@return naq.Job? job, string? message, naq.Code? code  WRONG_STATE: cancelled
function Schedule:run()
  local client = self.client:use(2)
  local record, revision, code = store.read(client, self.id)
  if not record then
    if code then return nil, revision, code end
    return not_found(self.id)
  end
  local at, message
  if record.state == "cancelled" then
    at, message, code = wrong_state(record)
  else
    at, message, code = publish(client, self.id, record)
  end
  if not at then return nil, context(self.id, message), code end
  local run = ("%s-%.0f"):format(self.id, at)
  -- The job is on its way; that the record tells of it is worth a few tries.
  for _ = 1, TRIES do
    record, revision = store.read(client, self.id)
    if not record then break end
    local recent = type(record.recent) == "table" and record.recent or core.array({})
    recent[#recent + 1] = at
    while #recent > RECENT do
      table.remove(recent, 1)
    end
    record.last_run, record.last_job, record.recent = at / 1000, run, recent
    local done, _, why = store.write(client, self.id, record, revision)
    if done or why ~= errors.WRONG_REVISION then break end
  end
  return client:job(run)
end

return schedule
