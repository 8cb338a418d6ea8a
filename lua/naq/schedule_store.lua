-- schedule_store.lua -- the records of recurring schedules in the bucket <prefix>_schedules.
--
-- Everything is a compare-and-set. The scheduler writes to the same records after each run; that is told
-- from another program's change by the record's edition, which only programs count up.
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")

local TRIES = 50

local store = {}

---@return string
function store.bucket(client) return client.prefix .. "_schedules" end
local bucket = store.bucket

---@return string
function store.context(id, message) return ("schedule %s: %s"):format(id, message) end
local context = store.context

--- A record's text as a table.
---@return table? record, string? message, naq.Code? code  SERIALIZATION, UNSUPPORTED
function store.parse(id, text)
  local record, message, code = core.decode(text)
  if type(record) ~= "table" or record[1] ~= nil or type(record.payload) ~= "table" then
    message = context(id, "its record cannot be read: " .. (message or "no schedule"))
    return nil, message, code or errors.SERIALIZATION
  end
  if record.v ~= nil and record.v ~= 1 then
    return nil, context(id, "its record is of a version that this one does not know"), errors.UNSUPPORTED
  end
  for name, value in pairs(record) do
    if value == core.null then record[name] = nil end
  end
  return record
end

--- Whether the server has what naq stores. Asked first, because reading from a bucket that somebody is making
--- at that moment ends nats-server 2.9.10; the stream of jobs is made last.
---@return boolean
function store.laid_out(client)
  if client.laid_out then return true end
  local info, _, code = jetstream_api.call(client.conn, "STREAM.INFO", client.prefix .. "_jobs")
  client.laid_out = info ~= nil
  return client.laid_out or code ~= errors.KEY_NOT_FOUND
end

--- A record and its revision; revision 0 and no code: there is none. A fourth value: there is one of that
--- revision, which cannot be read.
---@return table? record, integer|string revision_or_message, naq.Code? code, integer? unread
function store.read(client, id)
  if not store.laid_out(client) then return nil, 0 end
  local text, revision, code = client.conn:kv_get(bucket(client), id)
  if not text then
    if code == errors.KEY_NOT_FOUND or code == errors.CONFIGURATION then return nil, 0 end
    return nil, context(id, revision), code
  end
  local record, message
  record, message, code = store.parse(id, text)
  if not record then return nil, message, code, revision end
  return record, revision
end

--- Write a record over the revision that was read (0: there was none).
---@return integer? revision, string? message, naq.Code? code  WRONG_REVISION: somebody was faster
function store.write(client, id, record, revision)
  local text, message, code = core.encode(record)
  if not text then return nil, context(id, message), code end
  local most = client.conn:max_job()
  if #text > most then
    return nil, context(id, ("%d bytes, and a schedule may have %d"):format(#text, most)), errors.TOO_LARGE
  end
  local made
  for _ = 1, 2 do
    if revision == 0 then
      made, message, code = client.conn:kv_create(bucket(client), id, text)
    else
      made, message, code = client.conn:kv_update(bucket(client), id, text, revision)
    end
    if made then return made end
    if code ~= errors.CONFIGURATION then break end
    local layout -- a new server: there is no bucket yet
    layout, message, code = client:ensure_layout()
    if not layout then break end
  end
  if code == errors.KEY_EXISTS then code = errors.WRONG_REVISION end
  return nil, context(id, message), code
end

---@return nil, string message, naq.Code code
function store.not_found(id) return nil, context(id, "there is none of that id"), errors.KEY_NOT_FOUND end

--- Read, let fn(record) change it, write, as often as the scheduler comes in between. fn returns true, "as
--- it is" when there is nothing to do, or nil, message, code. With an edition, a change that somebody else
--- has made since is not overwritten.
---@return table? record, string? message, naq.Code? code  KEY_NOT_FOUND, WRONG_REVISION
function store.change(client, id, fn, edition)
  local message, code
  for _ = 1, TRIES do
    local record, revision, done
    record, revision, code = store.read(client, id)
    if not record then
      if code then return nil, revision, code end
      return store.not_found(id)
    end
    if edition and record.edition ~= edition then
      return nil, context(id, "somebody else has changed it meanwhile"), errors.WRONG_REVISION
    end
    done, message, code = fn(record)
    if done == nil then return nil, context(id, message), code end
    if done == "as it is" then return record end
    record.edition, record.modified_at = (tonumber(record.edition) or 0) + 1, core.now()
    done, message, code = store.write(client, id, record, revision)
    if done then return record end
    if code ~= errors.WRONG_REVISION then return nil, message, code end
  end
  return nil, message, code
end

return store
