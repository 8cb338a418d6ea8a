-- jetstream_streams.lua -- JetStream's streams: made, looked at, changed, emptied, deleted. Methods of
-- naq.JetStream.
local api = require("naq.jetstream_api")
local errors = require("naq.errors")
local options = require("naq.options")
local schema = require("naq.jetstream_schema")
local subject = require("naq.subject")

---@class naq.JetStream
local JetStream = {}

-- One call about a stream, its answer in seconds.
local function stream_call(self, call, name, config)
  local body, message, code, js
  if config then
    body, message, code = schema.encode(schema.STREAM, config)
    if not body then return nil, message, code end
  end
  local answer
  answer, message, code, js = api.call(self.connection.core, call, name, body)
  if not answer then return nil, "stream " .. message, code, js end
  return schema.stream_info(answer)
end

local function stream_config(self, name, given, level)
  local core = self.connection:use(level + 1)
  local ok, message, code = schema.check_name(name, "stream", level + 1)
  if not ok then return nil, message, code end
  local config
  config, message, code = schema.configuration(self.connection.core, schema.STREAM, given, level + 1)
  if not config then return nil, message, code end
  config = schema.with({ name = name }, config)
  return config, core
end

--- Create a stream. What the server adds to the settings stands in the answer's config.
---@param name string
---@param config? table  settings of jetstream_schema.STREAM: subjects, retention, storage, max_age, ...
---@return table? info, string? message, naq.Code? code  CONFIGURATION: refused, or the name is taken
function JetStream:add_stream(name, config)
  local wanted, message, code = stream_config(self, name, config, 2)
  if not wanted then return nil, message, code end
  local info
  info, message, code = stream_call(self, "STREAM.CREATE", name, wanted)
  return info, message, code
end

local ENSURED = { storage = "file", retention = "workqueue" }

--- The stream of that name: created where it is missing (storage "file" and retention "workqueue", unless the
--- settings say otherwise), looked at and left alone where it exists.
---@param name string
---@param config? table
---@return table? info, string[]|string differs_or_message, naq.Code? code
---        differs: "max_age: is 60, wanted 3600" for settings that were asked for; empty when it was created
function JetStream:ensure_stream(name, config)
  local js
  local wanted, message, code = stream_config(self, name, config, 2)
  if not wanted then return nil, message, code end
  wanted = schema.with(wanted, ENSURED)
  local info
  info, message, code = stream_call(self, "STREAM.INFO", name)
  if not info and code == errors.KEY_NOT_FOUND then
    info, message, code, js = stream_call(self, "STREAM.CREATE", name, wanted)
    if info then return info, {} end
    if js == api.STREAM_EXISTS then -- somebody was faster
      info, message, code = stream_call(self, "STREAM.INFO", name)
    end
  end
  if not info then return nil, message, code end
  return info, schema.differences(schema.STREAM, wanted, info.config)
end

--- Change settings of a stream; those that are not given stay.
---@param name string
---@param config table
---@return table? info, string? message, naq.Code? code  CONFIGURATION: one cannot be changed
function JetStream:update_stream(name, config)
  local changed, message, code = stream_config(self, name, config, 2)
  if not changed then return nil, message, code end
  local info
  info, message, code = stream_call(self, "STREAM.INFO", name)
  if not info then return nil, message, code end
  info, message, code = stream_call(self, "STREAM.UPDATE", name, schema.with(changed, info.config))
  return info, message, code
end

--- What the server knows of a stream: { config, state = { messages, bytes, first_seq, last_seq, first_ts,
--- last_ts, consumer_count, num_subjects, num_deleted }, created, cluster }. With a filter, state.subjects
--- has the number of messages under each subject that it matches.
---@param name string
---@param filter? string
---@return table? info, string? message, naq.Code? code  KEY_NOT_FOUND
function JetStream:stream_info(name, filter)
  local core = self.connection:use(2)
  local ok, message, code = schema.check_name(name, "stream", 2)
  if not ok then return nil, message, code end
  local info
  info, message, code = stream_call(self, "STREAM.INFO", name)
  if not info or filter == nil then return info, message, code end
  schema.check_string(filter, "filter", 2)
  local subjects = {}
  ok, message, code = api.each_page_of_subjects(core, name, filter, function(page)
    for subj, n in pairs(page) do
      subjects[subj] = n
    end
  end)
  if not ok then return nil, message, code end
  info.state.subjects = subjects
  return info
end

--- All streams, or those that have a subject, as stream_info() tells them.
---@param opts? {subject: string?}
---@return table[]? infos, string? message, naq.Code? code
function JetStream:list_streams(opts)
  local core = self.connection:use(2)
  opts = options.apply({ subject = { type = "string" } }, opts, 2)
  local list = {}
  local ok, message, code = api.each_stream(core, opts.subject, function(info)
    list[#list + 1] = schema.stream_info(info)
  end)
  if not ok then return nil, message, code end
  return list
end

--- Delete a stream with all that is in it.
---@param name string
---@return true? done, string? message, naq.Code? code  KEY_NOT_FOUND
function JetStream:delete_stream(name)
  self.connection:use(2)
  local ok, message, code = schema.check_name(name, "stream", 2)
  if not ok then return nil, message, code end
  ok, message, code = api.call(self.connection.core, "STREAM.DELETE", name)
  if not ok then return nil, "stream " .. message, code end
  return true
end

local PURGE = {
  filter = { type = "string", doc = "only messages whose subject matches" },
  seq = { type = "integer", min = 1, doc = "only messages before this one" },
  keep = { type = "integer", min = 0, doc = "all but the last so many" },
}

local FIXED = "2.9.12"

-- Before 2.9.12 a consumer skips everything that is pending when a part of what it filters is purged.
local function purge_harms(core, name, filter)
  local info, message, code = core:info()
  if not info then return nil, message, code end
  if not schema.older(info.version, FIXED) then return false end
  local harmed
  local ok
  ok, message, code = api.each_consumer(core, name, function(consumer)
    local own = consumer.config.filter_subject
    own = own and own ~= "" and own or ">"
    if subject.overlap(own, filter) and not subject.covers(filter, own) then harmed = consumer.name end
  end)
  if not ok then return nil, "stream " .. message, code end
  if not harmed then return false end
  local why = "stream %s: nats-server %s would make consumer %s skip all that is pending, because '%s' is "
    .. "only a part of what it reads: delete single messages with delete_msg()"
  return why:format(name, info.version, harmed, filter)
end

--- Remove messages: all, or those that opts names.
---@param name string
---@param opts? {filter: string?, seq: integer?, keep: integer?}  seq or keep, not both
---@return integer? removed, string? message, naq.Code? code
---        UNSUPPORTED: a server before 2.9.12, where this filter would make a consumer lose messages
function JetStream:purge_stream(name, opts)
  local core = self.connection:use(2)
  local ok, message, code = schema.check_name(name, "stream", 2)
  if not ok then return nil, message, code end
  opts = options.apply(PURGE, opts, 2)
  if opts.seq and opts.keep then error("either seq or keep", 2) end
  if opts.filter then
    local harm
    harm, message, code = purge_harms(core, name, opts.filter)
    if harm == nil then return nil, message, code end
    if harm then return nil, harm, errors.UNSUPPORTED end
  end
  local answer
  answer, message, code = api.call(core, "STREAM.PURGE", name, schema.encode(PURGE, opts))
  if not answer then return nil, "stream " .. message, code end
  return answer.purged or 0
end

return JetStream
