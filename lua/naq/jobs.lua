-- jobs.lua -- all jobs, one after the other, whatever their number: what runs, what waits on queues, what
-- waits for its time, then what has ended, the latest first. What is held at a time does not grow with it.
--
-- Jobs move while they are listed. One that did so in the wrong moment is listed in both places or in none.
local core = require("naq.core")
local details = require("naq.details")
local errors = require("naq.errors")
local id_rule = require("naq.id_rule")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local lookup = require("naq.lookup")
local options = require("naq.options")
local running = require("naq.running")

local jobs = {}

jobs.STATES = { "running", "pending", "retry", "scheduled", "completed", "failed", "cancelled" }

local FILTER = {
  queue = { type = "string", check = id_rule.problem, doc = "only of this queue" },
  state = { type = "string", one_of = jobs.STATES, doc = "only in this state" },
}

local LIST = {
  queue = FILTER.queue,
  state = FILTER.state,
  limit = { type = "integer", min = 1, max = 10000, default = 100, doc = "at most so many" },
}

local CLASSES = { "1h", "1d", "7d", "30d", "forever" }

-- Records read at a time of each bucket: more once it turns out that most of them are not wanted.
local FIRST_PAGE, LAST_PAGE = 32, 2048

-- A stream that is not there holds nothing.
local function nothing(code) return code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION end

---@class naq.Listing
---@field client naq.Client
---@field queue string?
---@field state string?
---@field emit fun(shown: naq.JobInfo)
---@field busy table<string, string>?  what runs: id -> queue

local function emit(self, id, found)
  if self.queue and found.queue ~= self.queue then return end
  if self.state and found.state ~= self.state then return end
  self.emit(details.of(id, found))
end

local function list_running(self)
  local ids = {}
  for id in pairs(self.busy) do
    ids[#ids + 1] = id
  end
  table.sort(ids)
  for _, id in ipairs(ids) do
    if not self.queue or self.busy[id] == self.queue then
      local found, message, code = lookup.locate(self.client, id)
      -- It may have ended: then it comes behind the others.
      if found and found.state == "running" then
        emit(self, id, found)
      elseif not found and code ~= errors.JOB_NOT_FOUND and code ~= errors.EXPIRED then
        return nil, message, code
      end
    end
  end
  return true
end

-- Each message of a work queue, by asking for the next: no consumer may read it beside its own.
local function walk(self, stream, filter, visit)
  local seq = 0
  while true do
    local found, message, code = self.client.conn:get_msg(stream, seq + 1, filter)
    if not found then
      if nothing(code) then return true end
      return nil, message, code
    end
    seq = tonumber(found.seq)
    local info = { subject = found.subject, seq = found.seq, time = found.timestamp, headers = found.headers }
    visit(found.subject:match("[^.]+$"), found.data, info)
  end
end

local function list_pending(self)
  local stream = self.client.prefix .. "_jobs"
  local filter = ("%s.q.%s.*.*"):format(self.client.prefix, self.queue or "*")
  local ok, message, code = walk(self, stream, filter, function(id, data, info)
    if not self.busy[id] then emit(self, id, lookup.pending(stream, data, info)) end
  end)
  return ok, message, code
end

local function list_delayed(self)
  local stream = self.client.prefix .. "_delayed"
  local ok, message, code = walk(self, stream, self.client.prefix .. ".d.*.*", function(id, data, info)
    emit(self, id, lookup.delayed(stream, data, info))
  end)
  return ok, message, code
end

-- A bucket read from its end: take() gives the latest record that it has not given yet, nil when there is
-- no more; nil, message, code.
local Backwards = {}
Backwards.__index = Backwards

local function backwards(client, class)
  local stream = ("KV_%s_results_%s"):format(client.prefix, class)
  local info, message, code = jetstream_api.call(client.conn, "STREAM.INFO", stream)
  if not info and not nothing(code) then return nil, message, code end
  local state = info and info.state or { first_seq = 1, last_seq = 0 }
  return setmetatable({
    conn = client.conn,
    stream = stream,
    first = tonumber(state.first_seq),
    ["end"] = tonumber(state.last_seq) + 1, -- read from here on
    size = FIRST_PAGE,
    page = {},
  }, Backwards)
end

-- The page before those read. A page whose values are too large to be held together is read in parts.
function Backwards:turn()
  local from = math.max(self.first, self["end"] - self.size)
  local rows, next_from, code = self.conn:browse(self.stream, { from = from, limit = self["end"] - from })
  if not rows then
    if nothing(code) then rows, next_from = {}, nil else return nil, next_from, code end
  end
  if next_from and next_from < self["end"] and self.size > 1 then
    self.size = math.floor(self.size / 2)
    return self:turn()
  end
  self.page = rows
  -- What was stored since the listing began is not of it.
  while rows[#rows] and rows[#rows].seq >= self["end"] do
    rows[#rows] = nil
  end
  self["end"] = from
  self.size = math.min(self.size * 2, LAST_PAGE)
  return true
end

function Backwards:peek()
  while #self.page == 0 do
    if self["end"] <= self.first then return nil end
    local ok, message, code = self:turn()
    if not ok then return nil, message, code end
  end
  return self.page[#self.page]
end

-- The state without decoding, which is most of the work: a record begins with it.
local function state_of(text) return text:match('^{"state":"(%a+)"') end

local function visit_record(self, row)
  local begins = state_of(row.data)
  if begins and self.state and begins ~= self.state then return end
  local record = core.decode(row.data)
  if type(record) ~= "table" or not job.TERMINAL[record.state] then return end
  local expires_at = tonumber(record.expires_at)
  if expires_at and expires_at < core.now() then return end
  local found = { state = record.state, queue = record.queue, priority = record.priority, record = record }
  emit(self, row.subject:match("[^.]+$"), found)
end

local function list_ended(self)
  local buckets = {}
  for i, class in ipairs(CLASSES) do
    local message, code
    buckets[i], message, code = backwards(self.client, class)
    if not buckets[i] then return nil, message, code end
  end
  while true do
    local latest, from
    for _, bucket in ipairs(buckets) do
      local row, message, code = bucket:peek()
      if code then return nil, message, code end
      if row and (not latest or row.time > latest.time) then latest, from = row, bucket end
    end
    if not latest then return true end
    table.remove(from.page)
    visit_record(self, latest)
  end
end

local SOURCES = {
  { states = { running = true }, list = list_running },
  { states = { pending = true }, list = list_pending },
  { states = { retry = true, scheduled = true }, list = list_delayed },
  { states = job.TERMINAL, list = list_ended },
}

local function list(self)
  if not self.state or self.state == "running" or self.state == "pending" then
    local message, code
    self.busy, message, code = running.jobs(self.client)
    if not self.busy then return nil, message, code end
  end
  for _, source in ipairs(SOURCES) do
    if not self.state or source.states[self.state] then
      local ok, message, code = source.list(self)
      if not ok then return nil, message, code end
    end
  end
  return true
end

--- All jobs that match, one a round; in the last one false, message, code when the server cannot be read.
---@param client naq.Client
---@param filter? {queue: string?, state: string?}
---@param level integer  1: the calling function
---@return fun(): naq.JobInfo|false|nil, string?, naq.Code?
function jobs.each(client, filter, level)
  filter = options.apply(FILTER, filter, level + 1)
  return coroutine.wrap(function()
    local ok, message, code = list({
      client = client,
      queue = filter.queue,
      state = filter.state,
      emit = coroutine.yield,
    })
    while true do
      if ok then
        coroutine.yield(nil)
      else
        coroutine.yield(false, message, code)
        ok = true
      end
    end
  end)
end

--- The first jobs that match.
---@param client naq.Client
---@param filter? {queue: string?, state: string?, limit: integer?}
---@param level integer
---@return naq.JobInfo[]? list, string? message, naq.Code? code
function jobs.list(client, filter, level)
  filter = options.apply(LIST, filter, level + 1)
  local found = {}
  for shown, message, code in jobs.each(client, { queue = filter.queue, state = filter.state }, 1) do
    if shown == false then return nil, message, code end
    found[#found + 1] = shown
    if #found == filter.limit then break end
  end
  return found
end

return jobs
