-- schedule_declare.lua -- what job files declare, put beside what is there. Called when a worker has read
-- its files: at its start, and when it reads them again.
--
-- A record that was declared keeps the declaration as it was (`declared`) and its file. So a worker that
-- starts with the same files changes nothing: not what somebody has paused or cancelled, nor what was
-- modified by hand.
local core = require("naq.core")
local errors = require("naq.errors")
local schedule_record = require("naq.schedule_record")
local store = require("naq.schedule_store")

local TRIES = 50

local schedule_declare = {}

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- The record that a declaration makes of what is there. How it stands is kept: counts, and the will of
-- whoever has paused or cancelled it, unless it is `enabled` that has changed.
local function redeclared(old, declaration, queue, now)
  local record, message, code = schedule_record.new(declaration.definition, queue, now, old)
  if not record then return nil, message, code end
  for _, name in ipairs({ "runs", "skipped", "last_run", "last_job", "recent", "created_at" }) do
    record[name] = old[name]
  end
  local switched = (old.declared.enabled == false) ~= (declaration.definition.enabled == false)
  if old.state == "cancelled" or (old.state == "paused" and not switched) then
    record.state = old.state
  elseif record.state ~= "paused" then
    record.state = "active"
  end
  local aimed
  aimed, message, code = schedule_record.aim(record, now)
  if not aimed then return nil, message, code end
  return record
end

-- One try: what was done, or nil, message, code.
local function try(client, declaration, declared)
  local id, now = declaration.id, core.now()
  local queue = declaration.definition.queue or client.config.queues.default
  local old, revision, code, unread = store.read(client, id)
  if code and not unread then return nil, revision, code end
  local record, message, done
  if unread or not old then
    record, message, code = schedule_record.new(declaration.definition, queue, now)
    done = "created"
    if unread then revision = unread end
  elseif not old.declared then
    message = ("it was made by hand; what %s declares is left out"):format(declaration.file)
    core.log("warning", store.context(id, message))
    return "left out"
  elseif same(old.declared, declared) then
    if old.file == declaration.file then return "unchanged" end
    record, done = old, "moved"
  else
    record, message, code = redeclared(old, declaration, queue, now)
    done = "changed"
  end
  if not record then return nil, store.context(id, message), code end
  record.declared, record.file = declared, declaration.file
  local written
  written, message, code = store.write(client, id, record, revision)
  if not written then return nil, message, code end
  return done
end

local function declare_one(client, declaration)
  local declared, done, message, code
  declared, message, code = schedule_record.declared(declaration.definition)
  if not declared then return nil, store.context(declaration.id, message), code end
  for _ = 1, TRIES do
    done, message, code = try(client, declaration, declared)
    if done or code ~= errors.WRONG_REVISION then break end
  end
  if done == "created" or done == "changed" then
    core.log("info", store.context(declaration.id, ("%s, as %s declares it"):format(done, declaration.file)))
  end
  return done, message, code
end

local ENDED = { cancelled = true, finished = true }

-- Those that one of these files has declared before and does not any more.
local function tell_gone(client, declarations, files)
  local entries = client.conn:kv_entries(store.bucket(client))
  local still, read = {}, {}
  for _, declaration in ipairs(declarations) do
    still[declaration.id] = true
  end
  for _, file in ipairs(files) do
    read[file] = true
  end
  for _, entry in ipairs(entries or {}) do
    local record = not still[entry.key] and store.parse(entry.key, entry.value)
    if record and record.file and read[record.file] and not ENDED[record.state] then
      local told = "%s does not declare it any more, and it still stands; naq schedule cancel %s ends it"
      core.log("warning", store.context(entry.key, told:format(record.file, entry.key)))
    end
  end
end

--- Bring the schedules to what the files declare. What cannot be done is logged: the worker has jobs to run.
---@param client naq.Client
---@param declarations naq.Declaration[]
---@param files string[]  that were read
function schedule_declare.all(client, declarations, files)
  for _, declaration in ipairs(declarations) do
    local done, message, code = declare_one(client, declaration)
    if not done then core.log("error", ("%s (%s)"):format(message, code)) end
  end
  tell_gone(client, declarations, files)
end

return schedule_declare
