-- guess.lua -- on which queues a job may be whose id is all that is known: asking for it there costs the
-- server nothing, where searching the stream for the id reads all its subjects (0.1 s for a million).
--
-- Candidates are the queues that this client uses, those that are or were served, and those of messages that
-- were stored about when the id was made: ids of naq's begin with the time.
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")

local guess = {}

-- More than so many queues are not asked one by one.
local MOST = 300
-- Messages looked at in other streams of ids.
local SAMPLES = 8

local DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

--- When an id of naq's was made, in epoch seconds; nil for other ids.
---@param id string
---@return number?
function guess.time_of(id)
  if #id ~= 26 then return nil end
  local ms = 0
  for i = 1, 10 do
    local digit = DIGITS:find(id:sub(i, i), 1, true)
    if not digit then return nil end
    ms = ms * 32 + digit - 1
  end
  return ms / 1000
end

-- Visit messages between two sequences, nearer and nearer to the time; without one, spread evenly.
local function sample(client, stream, first, last, time, visit)
  local function look(seq)
    -- The next that is there from seq on.
    local m = client.conn:get_msg(stream, seq, ">")
    if m then visit(m.subject:match("([^.]+)%.[^.]+%.[^.]+$")) end
    return m
  end
  look(first)
  look(last)
  if not time then
    for i = 1, SAMPLES do
      look(first + math.floor((last - first) * i / (SAMPLES + 1)))
    end
    return
  end
  while first < last do
    local middle = math.floor((first + last) / 2)
    local m = look(middle)
    if m and m.timestamp < time then
      first = math.max(middle, tonumber(m.seq)) + 1
    else
      last = middle
    end
  end
  look(first)
end

--- Names of queues, the likeliest first.
---@param client naq.Client
---@param id string
---@return string[]? queues
---@return integer|string last_or_message  the stream's last sequence
---@return naq.Code? code
function guess.queues(client, id)
  local stream = client.prefix .. "_jobs"
  local names, known = {}, {}
  local function add(name)
    if not name or known[name] or #names >= MOST then return end
    known[name] = true
    names[#names + 1] = name
  end
  local info, message, code = jetstream_api.call(client.conn, "STREAM.INFO", stream)
  if not info then
    if code == errors.KEY_NOT_FOUND then return {}, 0 end
    return nil, message, code
  end
  local state = info.state
  for name in pairs(client.opened) do
    add(name)
  end
  local last = tonumber(state.last_seq)
  if state.messages > 0 then
    sample(client, stream, tonumber(state.first_seq), last, guess.time_of(id), add)
  end
  local page
  page, message, code = jetstream_api.call(client.conn, "CONSUMER.NAMES", stream, { offset = 0 })
  if not page then return nil, message, code end
  for _, consumer in ipairs(page.consumers or {}) do
    add(consumer:match("^(.+)_normal$"))
  end
  return names, last
end

return guess
