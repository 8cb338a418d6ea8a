-- schedule_record.lua -- a schedule as it is stored (docs/wire.md): made from what a program says, changed,
-- and as a row for people. Knows nothing of NATS.
local core = require("naq.core")
local enqueue_options = require("naq.enqueue_options")
local errors = require("naq.errors")
local job = require("naq.job")
local moment = require("naq.moment")
local options = require("naq.options")
local policy = require("naq.policy")
local recurrence = require("naq.recurrence")

local schedule_record = {}

-- "-" and the 13 digits of a time stand behind it in the ids of its runs, which have 64 characters.
local ID_MAX = 50

--- What is wrong with a schedule's id, or nil.
---@return string? problem
function schedule_record.id_problem(id)
  if type(id) == "string" and core.valid_id(id) and #id <= ID_MAX then return nil end
  return ("schedule id '%s' must be 1 to %d of [A-Za-z0-9_-]"):format(tostring(id), ID_MAX)
end

local TIME = { "number", "string" }

-- When, and how often.
local OWN = {
  cron = { type = "string", doc = "five fields, six with seconds first, or @daily and its kin" },
  interval = { type = "number", min = 0.01, max = 1e9, doc = "seconds, instead of cron" },
  timezone = { type = "string", doc = "of cron's fields, an IANA name (UTC)" },
  ["repeat"] = { type = "integer", min = 1, doc = "finished after so many runs" },
  starts_at = { type = TIME, check = moment.problem, doc = "no run before: epoch seconds or ISO 8601" },
  ends_at = { type = TIME, check = moment.problem, doc = "no run after; finished then" },
  jitter = { type = "number", min = 0, max = 86400, doc = "each run is put off by up to so many seconds" },
  overlap = {
    type = "string",
    one_of = { "allow", "skip", "queue_one" },
    doc = "while the run before has not ended: run too, leave one out, or run once it has (allow)",
  },
  misfire = {
    type = "string",
    one_of = { "once", "skip", "all" },
    doc = "of times missed by more than 60 s: run the latest, none, or all up to 100 "
      .. "(scheduler.misfire)",
  },
}

-- What each of its runs is.
local RUN = {
  job = { type = "string", doc = "the job's name" },
  queue = enqueue_options.DECLARATION.queue,
  priority = { type = "string", one_of = job.PRIORITIES, doc = "of its runs (normal)" },
  meta = enqueue_options.DECLARATION.meta,
  trace = enqueue_options.DECLARATION.trace,
}

local ENABLED = { type = "boolean", doc = "false: paused from the start" }

---@type table<string, naq.OptionDeclaration>
schedule_record.DECLARATION = { enabled = ENABLED }
for _, part in ipairs({ OWN, RUN, policy.DECLARATION, policy.LIMITS }) do
  for name, declared in pairs(part) do
    schedule_record.DECLARATION[name] = declared
  end
end

-- What may be changed besides.
local CHANGES = {
  next_run = { type = TIME, check = moment.problem, doc = "the next run, instead of the one that would be" },
}
for name, declared in pairs(schedule_record.DECLARATION) do
  CHANGES[name] = declared
end

---@class naq.ScheduleDefinition
---@field job string
---@field args any
---@field cron string?
---@field interval number?
---@field timezone string?
---@field repeat integer?
---@field starts_at number|string|nil
---@field ends_at number|string|nil
---@field jitter number?
---@field overlap "allow"|"skip"|"queue_one"|nil
---@field misfire "once"|"skip"|"all"|nil
---@field enabled boolean?
---@field queue string?
---@field priority "high"|"normal"|"low"|nil

-- What ends up in the payload, by option.
local function in_payload(name)
  return RUN[name] == nil and OWN[name] == nil and name ~= "enabled" and name ~= "next_run"
end

-- Options of the payload whose empty list is an array.
local function carried(name, value)
  local declared = schedule_record.DECLARATION[name]
  if declared.type == "strings" and #value == 0 then return core.array({}) end
  return value
end

-- args may be anything, so they are no option.
local function without_args(given, level)
  if type(given) ~= "table" then
    error(("a schedule is described by a table, not a %s"):format(type(given)), level + 1)
  end
  local rest = {}
  for name, value in pairs(given) do
    if name ~= "args" then rest[name] = value end
  end
  return rest
end

--- Check a definition; raises at `level` (1: the calling function) for what is misspelt, mistyped or missing.
---@param definition naq.ScheduleDefinition
---@param level integer
function schedule_record.check(definition, level)
  local rest = without_args(definition, level + 1)
  options.apply(schedule_record.DECLARATION, rest, level + 1)
  if not rest.job or rest.job == "" then error("a schedule needs the name of a job", level + 1) end
  if (rest.cron == nil) == (rest.interval == nil) then
    error("a schedule has either cron or interval", level + 1)
  end
  if rest.timezone and not rest.cron then error("timezone is for cron", level + 1) end
end

--- The same for changes: core.null unsets what need not be given. next_run: a time for the next run.
---@param changes table
---@param level integer
function schedule_record.check_changes(changes, level)
  local rest = without_args(changes, level + 1)
  for name, value in pairs(rest) do
    if schedule_record.DECLARATION[name] and value == core.null then
      if name == "job" then error("option 'job' cannot be unset", level + 1) end
      rest[name] = nil
    end
  end
  options.apply(CHANGES, rest, level + 1)
  if rest.cron and rest.interval then error("a schedule has either cron or interval", level + 1) end
  if rest.timezone and rest.interval then error("timezone is for cron", level + 1) end
  if rest.job == "" then error("option 'job' must not be empty", level + 1) end
end

local TIMING = { "cron", "interval", "timezone", "starts_at", "ends_at" }

-- The changes put into a record.
local function apply(record, changes, now)
  local payload = record.payload
  for name, value in pairs(changes) do
    if value == core.null then value = nil end
    if name == "args" or in_payload(name) then
      if value ~= nil and name ~= "args" then value = carried(name, value) end
      payload[name] = value
    elseif name == "job" or name == "meta" or name == "trace" then
      payload[name] = value
    elseif name == "starts_at" or name == "ends_at" then
      record[name] = value and moment.seconds(value)
    elseif name ~= "enabled" and name ~= "next_run" then
      record[name] = value
    end
  end
  if changes.cron and changes.cron ~= core.null then
    record.interval, record.anchor = nil, nil
  elseif changes.interval and changes.interval ~= core.null then
    record.cron, record.timezone = nil, nil
  end
  if record.interval and (changes.interval or changes.starts_at or not record.anchor) then
    record.anchor = record.starts_at or now
  end
end

--- When it runs next; state and next_run follow. True, or nil, message, code for times that cannot be.
---@return true? ok, string? message, naq.Code? code
function schedule_record.aim(record, now)
  if (record.cron == nil) == (record.interval == nil) then
    return nil, "a schedule has either cron or interval", errors.INVALID
  end
  if record.timezone and not record.cron then return nil, "timezone is for cron", errors.INVALID end
  local ok, message, code = recurrence.check(record)
  if not ok then return nil, message, code end
  if record.state ~= "active" and record.state ~= "finished" then
    record.next_run = nil
    return true
  end
  record.next_run, message, code = recurrence.next(record, math.max(now, record.done_until or 0))
  if code then return nil, message, code end
  local left = not record["repeat"] or record["repeat"] > (record.runs or 0)
  if not left then record.next_run = nil end
  record.state = record.next_run and "active" or "finished"
  return true
end

--- A new record. It never runs at a time that its predecessor of the same id has been through.
---@param definition naq.ScheduleDefinition
---@param queue string
---@param now number
---@param old table?  the record that it takes the place of
---@return table? record, string? message, naq.Code? code
function schedule_record.new(definition, queue, now, old)
  local record = {
    v = 1,
    queue = queue,
    priority = "normal",
    payload = { v = 1 },
    state = definition.enabled == false and "paused" or "active",
    runs = 0,
    edition = (old and tonumber(old.edition) or 0) + 1,
    created_at = now,
    modified_at = now,
    done_until = old and old.done_until,
  }
  apply(record, definition, now)
  local ok, message, code = core.payload(record.payload.job)
  if ok then ok, message, code = schedule_record.aim(record, now) end
  if not ok then return nil, message, code end
  if record.state == "finished" then return nil, "it would never run: ends_at has passed", errors.INVALID end
  return record
end

-- The next run at a time that was asked for; one that has passed is now. An interval goes on from there.
local function aim_at(record, time, now)
  local left = not record["repeat"] or record["repeat"] > (record.runs or 0)
  if record.state == "finished" and left then record.state = "active" end
  if record.state ~= "active" then return nil, "it is " .. record.state, errors.WRONG_STATE end
  local at = math.floor(math.max(moment.seconds(time), now) * 1000 + 0.5) / 1000
  if at <= (record.done_until or 0) then return nil, "it has been through that time", errors.INVALID end
  if (record.starts_at and at < record.starts_at) or (record.ends_at and at > record.ends_at) then
    return nil, "next_run lies outside of starts_at and ends_at", errors.INVALID
  end
  if record.interval then record.anchor = record.starts_at and at or at - record.interval end
  record.next_run, record.held = at, nil
  return true
end

--- Changes made to a record, as somebody's who may do so.
---@return true? ok, string? message, naq.Code? code
function schedule_record.change(record, changes, now)
  apply(record, changes, now)
  if changes.enabled == false and record.state == "active" then record.state = "paused" end
  if changes.enabled == true and record.state == "paused" then record.state = "active" end
  local timed = changes.enabled ~= nil or changes["repeat"] ~= nil
  for _, name in ipairs(TIMING) do
    timed = timed or changes[name] ~= nil
  end
  local ok, message, code = core.payload(record.payload.job)
  if not ok then return nil, message, code end
  ok, message, code = true, nil, nil
  if timed then ok, message, code = schedule_record.aim(record, now) end
  if ok and changes.next_run then ok, message, code = aim_at(record, changes.next_run, now) end
  return ok, message, code
end

--- From a definition's point of view: the members that it set, fit to be compared.
---@return table? declared, string? message, naq.Code? code  SERIALIZATION
function schedule_record.declared(definition)
  local text, message, code = core.encode(definition)
  if not text then return nil, message, code end
  return core.decode(text)
end

local function known(value)
  if value == core.null then return nil end
  return value
end

--- A record as people see it; shape as `naq schedule list --json`.
---@param id string
---@param record table
---@return table row
function schedule_record.row(id, record)
  local payload = type(record.payload) == "table" and record.payload or {}
  local runs = tonumber(record.runs) or 0
  local limit = tonumber(record["repeat"])
  local row = {
    id = id,
    job = payload.job,
    args = payload.args,
    runs = runs,
    remaining = limit and math.max(limit - runs, 0),
    priority = record.priority or "normal",
    queue = record.queue,
    state = record.state,
  }
  for _, name in ipairs({
    "cron", "interval", "timezone", "next_run", "last_run", "last_job", "repeat", "starts_at", "ends_at",
    "jitter", "overlap", "misfire", "skipped", "file", "error", "created_at", "modified_at",
  }) do
    row[name] = known(record[name])
  end
  if row.cron and not row.timezone then row.timezone = "UTC" end
  return row
end

return schedule_record
