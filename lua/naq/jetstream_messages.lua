-- jetstream_messages.lua -- single stored messages, outside of any consumer. Methods of naq.JetStream.
local api = require("naq.jetstream_api")
local errors = require("naq.errors")
local options = require("naq.options")
local schema = require("naq.jetstream_schema")

---@class naq.JetStream
local JetStream = {}

local GET = {
  seq = { type = "integer", min = 1, doc = "this message; with next_by_subject: from here on" },
  last_by_subject = { type = "string", doc = "the last message of this subject" },
  next_by_subject = { type = "string", doc = "the next message whose subject matches" },
  direct = { type = "boolean", doc = "asked of any replica, maybe behind; needs allow_direct" },
}

---@class naq.GetOptions
---@field seq integer?             this message; with next_by_subject: where to begin
---@field last_by_subject string?  the last of this subject
---@field next_by_subject string?  the next whose subject matches
---@field direct boolean?          ask any replica: it may be behind; the stream has allow_direct

---@class naq.StoredMessage
---@field stream string
---@field subject string
---@field data string
---@field headers table<string, string|string[]>
---@field seq integer
---@field timestamp number  when it was stored, epoch seconds

local DIRECT_SECONDS = 2

local DIRECT = {
  ["Nats-Stream"] = true,
  ["Nats-Subject"] = true,
  ["Nats-Sequence"] = true,
  ["Nats-Time-Stamp"] = true,
  ["Nats-Last-Sequence"] = true,
  ["Nats-Num-Pending"] = true,
}

-- Nobody answers for a stream that is not there, nor for one without direct access.
local function silence(core, stream, message, code)
  if code ~= errors.NO_JETSTREAM and code ~= errors.TIMEOUT then return nil, message, code end
  local info, why, kind = api.call(core, "STREAM.INFO", stream)
  if not info then return nil, "stream " .. why, kind end
  if info.config.allow_direct then return nil, message, code end
  return nil, ("stream %s does not have allow_direct"):format(stream), errors.UNSUPPORTED
end

local function get_direct(core, stream, query)
  local request = schema.encode(GET, { seq = query.seq })
  local fields = {}
  if query.seq then fields[#fields + 1] = request:sub(2, -2) end
  for wire, subj in pairs({ last_by_subj = query.last_by_subject, next_by_subj = query.next_by_subject }) do
    local text, message, code = schema.encode({ [wire] = GET.last_by_subject }, { [wire] = subj })
    if not text then return nil, message, code end
    fields[#fields + 1] = text:sub(2, -2)
  end
  request = "{" .. table.concat(fields, ",") .. "}"
  local data, headers, code = core:request("$JS.API.DIRECT.GET." .. stream, request, DIRECT_SECONDS)
  if not data then
    return silence(core, stream, headers, code)
  end
  if not headers["Nats-Sequence"] then
    local missing = headers.Status == "404"
    local why = missing and "no such message" or headers.Description or "refused"
    return nil, ("stream %s: %s"):format(stream, why), missing and errors.KEY_NOT_FOUND or errors.INVALID
  end
  local m = {
    stream = stream,
    subject = headers["Nats-Subject"],
    data = data,
    seq = schema.sequence(headers["Nats-Sequence"]),
    timestamp = schema.time(headers["Nats-Time-Stamp"]),
    headers = {},
  }
  for name, value in pairs(headers) do
    if not DIRECT[name] then m.headers[name] = value end
  end
  return m
end

--- One stored message, which stays where it is: js:get_msg("orders", 17), js:get_msg("orders", "orders.eu")
--- for the last of a subject, or with options.
---@param stream string
---@param what integer|string|naq.GetOptions
---@return naq.StoredMessage? message, string? message, naq.Code? code
---        KEY_NOT_FOUND; UNSUPPORTED: no direct access there
function JetStream:get_msg(stream, what)
  local core = self.connection:use(2)
  local ok, message, code = schema.check_name(stream, "stream", 2)
  if not ok then return nil, message, code end
  if type(what) == "number" then what = { seq = what } end
  if type(what) == "string" then what = { last_by_subject = what } end
  local query = options.apply(GET, what, 2)
  if query.last_by_subject and (query.seq or query.next_by_subject)
    or not (query.last_by_subject or query.seq or query.next_by_subject) then
    error("one of seq, last_by_subject and next_by_subject (with seq, where to begin) expected", 2)
  end
  local m
  if query.direct then
    m, message, code = get_direct(core, stream, query)
  else
    local seq = query.seq or (query.next_by_subject and 1) or nil
    m, message, code = core:get_msg(stream, seq, query.last_by_subject or query.next_by_subject)
    if not m and message:find("(10059)", 1, true) then code = errors.KEY_NOT_FOUND end -- no such stream
  end
  return m, message, code
end

--- Delete one message by its sequence.
---@param stream string
---@param seq integer
---@param opts? {erase: boolean?}  overwrite it on the disk, too
---@return true? done, string? message, naq.Code? code  KEY_NOT_FOUND
function JetStream:delete_msg(stream, seq, opts)
  local core = self.connection:use(2)
  local ok, message, code = schema.check_name(stream, "stream", 2)
  if not ok then return nil, message, code end
  if type(seq) ~= "number" or seq % 1 ~= 0 or seq < 1 then error("a sequence expected", 2) end
  opts = options.apply({ erase = { type = "boolean" } }, opts, 2)
  ok, message, code = api.delete_message(core, stream, seq, opts.erase)
  if ok then return true end
  return nil, "stream " .. message, code or errors.KEY_NOT_FOUND
end

return JetStream
