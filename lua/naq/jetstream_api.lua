-- jetstream_api.lua -- JetStream's JSON API, as far as the Lua layer asks it: what streams and consumers
-- say about themselves, and purging. All functions wait for the network.
local core = require("naq.core")
local errors = require("naq.errors")

local jetstream_api = {}

local SECONDS = 5

-- Error codes of nats-server's answers; what is not listed is a configuration that it refuses.
local CODES = {
  [10003] = errors.INVALID, -- a request it does not understand
  [10008] = errors.CONNECTION, -- no leader at the moment
  [10014] = errors.KEY_NOT_FOUND, -- consumer
  [10037] = errors.KEY_NOT_FOUND, -- message
  [10059] = errors.KEY_NOT_FOUND, -- stream
  [10039] = errors.NO_JETSTREAM,
  [10002] = errors.STORAGE_FULL,
  [10023] = errors.STORAGE_FULL,
  [10028] = errors.STORAGE_FULL,
  [10047] = errors.STORAGE_FULL,
}

--- The server's answer when a stream of that name, with other settings, exists.
jetstream_api.STREAM_EXISTS = 10058

-- Before Lua 5.3 numbers over 2^53 cannot be held exactly, and are refused: they come as digits then, as
-- sequences from the core do.
local function decode(data)
  local answer, message, code = core.decode(data)
  if answer ~= nil or code ~= errors.SERIALIZATION then return answer, message, code end
  local long = "([:,%[])(" .. ("%d"):rep(16) .. "+)([,}%]])"
  answer, message, code = core.decode((data:gsub(long, '%1"%2"%3')))
  return answer, message, code
end

--- One call: jetstream_api.call(conn, "STREAM.INFO", "naq_jobs", { subjects_filter = ... }).
---@param conn naq.CoreConn
---@param api string
---@param object string?  stream, or "stream.consumer"; nil for the account as a whole
---@param body table|string|nil  a string: JSON already
---@param seconds? number  5
---@return table? answer, string? message, naq.Code? code, integer? err_code  the server's own code
---        KEY_NOT_FOUND: no such stream or consumer
function jetstream_api.call(conn, api, object, body, seconds)
  local request = body or ""
  if type(body) == "table" then
    local message, code
    request, message, code = core.encode(body)
    if not request then return nil, message, code end
  end
  local name = object and ("%s.%s"):format(api, object) or api
  local data, message, code = conn:request("$JS.API." .. name, request, seconds or SECONDS)
  if not data then return nil, object and ("%s: %s"):format(object, message) or message, code end
  local answer
  answer, message, code = decode(data)
  if type(answer) ~= "table" then return nil, message, code end
  local refused = answer.error
  if refused then
    code = CODES[refused.err_code] or errors.CONFIGURATION
    local text = ("%s: %s"):format(object or api, refused.description or "refused")
    return nil, text, code, refused.err_code
  end
  return answer
end

-- Deleting answers 10057 to all that goes wrong, and what the store says: "no message found" of a file store,
-- "sequence 17 not found" of one in memory, "EOF" behind the last, "deleted message".
local ABSENT = { "not found", "no message", "EOF", "deleted" }

--- Delete one message of a stream. By its sequence: a purge of its subject makes consumers of nats-server
--- 2.9.10 skip what is pending.
---@param conn naq.CoreConn
---@param stream string
---@param seq integer
---@param erase? boolean  overwrite it on the disk, too; else a server killed within seconds has it again
---@return boolean? deleted, string? message, naq.Code? code  false: it is not there, message says so
function jetstream_api.delete_message(conn, stream, seq, erase)
  local body = ('{"seq":%d,"no_erase":%s}'):format(seq, tostring(not erase))
  local ok, message, code = jetstream_api.call(conn, "STREAM.MSG.DELETE", stream, body)
  if ok then return true end
  for _, text in ipairs(ABSENT) do
    if code == errors.KEY_NOT_FOUND or message:find(text, 1, true) then return false, message end
  end
  return nil, message, code
end

--- Whether naq's streams and buckets are there: the stream of jobs is created last. Before that a bucket may
--- be just being created, and reading a message of such a stream ends nats-server 2.9.10.
---@param client {conn: naq.CoreConn, prefix: string, laid_out: boolean?}
---@return boolean? there, string? message, naq.Code? code
function jetstream_api.laid_out(client)
  if client.laid_out then return true end
  local info, message, code = jetstream_api.call(client.conn, "STREAM.INFO", client.prefix .. "_jobs")
  if not info and code ~= errors.KEY_NOT_FOUND then return nil, message, code end
  client.laid_out = info ~= nil
  return client.laid_out
end

-- Past the last subject of any stream: the answer then counts the subjects and lists none of them.
local PAST_THE_END = 2147483647

--- How many subjects of a stream match. One message a subject: how many messages.
---@return integer? count, string? message, naq.Code? code
function jetstream_api.count_subjects(conn, stream, filter)
  local body = { subjects_filter = filter, offset = PAST_THE_END }
  local info, message, code = jetstream_api.call(conn, "STREAM.INFO", stream, body)
  if not info then return nil, message, code end
  return info.total or 0
end

--- Call visit({ [subject] = messages }) for the subjects that match, page by page.
---@return true? done, string? message, naq.Code? code
function jetstream_api.each_page_of_subjects(conn, stream, filter, visit)
  local offset = 0
  repeat
    local body = { subjects_filter = filter, offset = offset }
    local info, message, code = jetstream_api.call(conn, "STREAM.INFO", stream, body)
    if not info then return nil, message, code end
    local page = info.state.subjects or {}
    visit(page)
    for _ in pairs(page) do
      offset = offset + 1
    end
  until offset >= (info.total or 0) or not next(page)
  return true
end

--- Call visit(subject) for each subject that matches, page by page, in no order.
---@return true? done, string? message, naq.Code? code
function jetstream_api.each_subject(conn, stream, filter, visit)
  local done, message, code = jetstream_api.each_page_of_subjects(conn, stream, filter, function(page)
    for subject in pairs(page) do
      visit(subject)
    end
  end)
  return done, message, code
end

--- Call visit(info) for each consumer of a stream.
---@return true? done, string? message, naq.Code? code
function jetstream_api.each_consumer(conn, stream, visit)
  local offset = 0
  repeat
    local page, message, code = jetstream_api.call(conn, "CONSUMER.LIST", stream, { offset = offset })
    if not page then return nil, message, code end
    local consumers = page.consumers or {}
    for i = 1, #consumers do
      visit(consumers[i])
    end
    offset = offset + #consumers
  until #consumers == 0 or offset >= page.total
  return true
end

--- Call visit(info) for each stream, or each that has a subject.
---@param subject? string
---@return true? done, string? message, naq.Code? code
function jetstream_api.each_stream(conn, subject, visit)
  local offset = 0
  repeat
    local body = { offset = offset, subject = subject }
    local page, message, code = jetstream_api.call(conn, "STREAM.LIST", nil, body)
    if not page then return nil, message, code end
    local streams = type(page.streams) == "table" and page.streams or {}
    for i = 1, #streams do
      visit(streams[i])
    end
    offset = offset + #streams
  until #streams == 0 or offset >= page.total
  return true
end

return jetstream_api
