-- queue_names.lua -- which queues there are: those that are or were served, by their consumers; those that
-- jobs wait on and nobody has served yet, by their jobs; and those of which something is set.
--
-- The server lists subjects in order, 100,000 at a time, and sorts all there are for each page (1.3 s for a
-- million). So they are not read page by page: what a consumer counts is known, likely queues are counted,
-- and in what is left the rest of a large queue is counted and skipped.
local core = require("naq.core")
local errors = require("naq.errors")
local guess = require("naq.guess")
local jetstream_api = require("naq.jetstream_api")
local lookup = require("naq.lookup")

local queue_names = {}

-- So many likely queues are counted before subjects are listed: each costs a tenth of a second for a million.
local MOST_COUNTED = 8
-- So often it is begun anew because jobs went away meanwhile.
local MOST_AGAIN = 5

local function missing(code) return code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION end

-- Those that have consumers, and how many jobs these count.
local function served(conn, stream)
  local known, jobs = {}, 0
  local ok, message, code = jetstream_api.each_consumer(conn, stream, function(info)
    local name = info.name:match("^(.+)_high$") or info.name:match("^(.+)_normal$")
      or info.name:match("^(.+)_low$")
    if name then
      known[name] = true
      jobs = jobs + (info.num_pending or 0) + (info.num_ack_pending or 0)
    end
  end)
  if not ok then return nil, message, code end
  return known, jobs
end

-- Adds likely queues that jobs wait on, until `left` jobs are accounted for: what is left then.
local function count_likely(client, stream, known, left)
  local likely, message, code = guess.queues(client, "")
  if not likely then return nil, message, code end
  local counted = 0
  for _, name in ipairs(likely) do
    if left <= 0 or counted >= MOST_COUNTED then break end
    if not known[name] then
      local jobs
      jobs, message, code =
        jetstream_api.count_subjects(client.conn, stream, ("%s.q.%s.*.*"):format(client.prefix, name))
      if not jobs then return nil, message, code end
      counted = counted + 1
      if jobs > 0 then
        known[name] = true
        left = left - jobs
      end
    end
  end
  return left
end

-- In the order of their subjects, where a dot follows the name.
local function before(a, b) return a .. "." < b .. "." end

-- The names in a page: how many subjects, the first and the last name, subjects of the last.
local function read_page(page, known)
  local count, first, last, of = 0, nil, nil, {}
  for subject in pairs(page) do
    local name = subject:match("([^.]+)%.[^.]+%.[^.]+$")
    count = count + 1
    if name then
      known[name] = true
      of[name] = (of[name] or 0) + 1
      if not first or before(name, first) then first = name end
      if not last or before(last, name) then last = name end
    end
  end
  return count, first, last, of[last]
end

-- All names that subjects have. Behind each page the last queue's other subjects are skipped, but for one, by
-- which the next page shows that so many did not go away meanwhile that another queue was skipped as well.
local function walk(client, stream, known)
  local conn, prefix = client.conn, client.prefix
  local offset, expected, again = 0, nil, 0
  while true do
    local body = { subjects_filter = prefix .. ".q.>", offset = offset }
    local info, message, code = jetstream_api.call(conn, "STREAM.INFO", stream, body)
    if not info then return nil, message, code end
    local count, first, last, size = read_page(info.state.subjects or {}, known)
    if expected and again < MOST_AGAIN and (not first or before(expected, first)) then
      offset, expected, again = 0, nil, again + 1
    elseif count == 0 or offset + count >= (info.total or 0) then
      return true
    else
      local jobs
      jobs, message, code = jetstream_api.count_subjects(conn, stream, ("%s.q.%s.*.*"):format(prefix, last))
      if not jobs then return nil, message, code end
      -- Where the next page would begin; of a queue that goes on from the page before, that is all we know.
      local behind = offset + count
      local to = last == expected and behind - 1 or behind - size + jobs - 1
      offset, expected = math.max(to, behind - 1, offset + 1), last
    end
  end
end

-- Those of which something is set, and those that only delayed jobs have.
local function add_others(client, known)
  local entries, message, code = client.conn:kv_entries(client.prefix .. "_control")
  if not entries and not missing(code) then return nil, message, code end
  for _, entry in ipairs(entries or {}) do
    local setting = not entry.key:find(".", 1, true) and core.decode(entry.value)
    if type(setting) == "table" and next(setting) ~= nil then known[entry.key] = true end
  end
  local delayed
  delayed, message, code = lookup.delayed_by_queue(client)
  if code then return nil, message, code end
  for name in pairs(delayed or {}) do
    known[name] = true
  end
  return true
end

local function waited_on(client, known, accounted)
  local stream = client.prefix .. "_jobs"
  local info, message, code = jetstream_api.call(client.conn, "STREAM.INFO", stream)
  if not info then return nil, message, code end
  local left = info.state.messages - accounted
  if left <= 0 then return true end
  left, message, code = count_likely(client, stream, known, left)
  if not left then return nil, message, code end
  if left <= 0 then return true end
  local ok
  ok, message, code = walk(client, stream, known)
  return ok, message, code
end

--- Names of the queues that are or were served, hold jobs, or have settings, sorted.
---@param client naq.Client
---@return string[]? names, string? message, naq.Code? code
function queue_names.list(client)
  local known, accounted, code = served(client.conn, client.prefix .. "_jobs")
  local ok, message
  if known then
    ok, message, code = waited_on(client, known, accounted)
    if not ok then return nil, message, code end
  elseif missing(code) then
    known = {}
  else
    return nil, accounted, code
  end
  ok, message, code = add_others(client, known)
  if not ok then return nil, message, code end
  local names = {}
  for name in pairs(known) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

return queue_names
