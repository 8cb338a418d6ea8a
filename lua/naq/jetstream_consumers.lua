-- jetstream_consumers.lua -- what reads a stream: made, looked at, deleted. Methods of naq.JetStream.
local api = require("naq.jetstream_api")
local schema = require("naq.jetstream_schema")

---@class naq.JetStream
local JetStream = {}

local function consumer_call(self, call, object, body)
  local answer, message, code = api.call(self.connection.core, call, object, body)
  if not answer then return nil, "consumer " .. message, code end
  return schema.consumer_info(answer)
end

-- Where a consumer is created depends on what it is called: servers know the names of ephemeral ones from
-- 2.9 on.
local function place(stream, config)
  if config.durable_name then
    return "CONSUMER.DURABLE.CREATE", ("%s.%s"):format(stream, config.durable_name)
  elseif not config.name then
    return "CONSUMER.CREATE", stream
  elseif not config.filter_subject then
    return "CONSUMER.CREATE", ("%s.%s"):format(stream, config.name)
  end
  return "CONSUMER.CREATE", ("%s.%s.%s"):format(stream, config.name, config.filter_subject)
end

local function check_names(self, stream, consumer, level)
  self.connection:use(level + 1)
  local ok, message, code = schema.check_name(stream, "stream", level + 1)
  if ok then ok, message, code = schema.check_name(consumer, "consumer", level + 1) end
  return ok, message, code
end

--- Create a consumer: durable with durable_name, else one that the server forgets after inactive_threshold
--- seconds without use. ack_policy is "explicit" unless told otherwise. One of that name is changed where the
--- server allows that.
---@param stream string
---@param config table  settings of jetstream_schema.CONSUMER: durable_name, filter_subject, ack_wait, ...
---@return table? info, string? message, naq.Code? code  KEY_NOT_FOUND: no such stream; CONFIGURATION: refused
function JetStream:add_consumer(stream, config)
  local info, message, code = self:create_consumer(stream, config, 2)
  return info, message, code
end

--- add_consumer() on behalf of a caller `level` above (1: the calling function).
---@param stream string
---@param config table
---@param level integer
---@return table? info, string? message, naq.Code? code
function JetStream:create_consumer(stream, config, level)
  self.connection:use(level + 1)
  local ok, message, code = schema.check_name(stream, "stream", level + 1)
  if not ok then return nil, message, code end
  local checked
  checked, message, code = schema.configuration(self.connection.core, schema.CONSUMER, config, level + 1)
  if not checked then return nil, message, code end
  local name = checked.durable_name or checked.name
  if name then
    ok, message, code = schema.check_name(name, "consumer", level + 1)
    if not ok then return nil, message, code end
  end
  local body
  body, message, code = schema.encode(schema.CONSUMER, schema.with(checked, { ack_policy = "explicit" }))
  if not body then return nil, message, code end
  body = ('{"stream_name":"%s","config":%s}'):format(stream, body)
  local call, object = place(stream, checked)
  local info
  info, message, code = consumer_call(self, call, object, body)
  return info, message, code
end

--- What the server knows of a consumer: { name, stream_name, config, created, delivered, ack_floor,
--- num_ack_pending, num_redelivered, num_waiting, num_pending }.
---@param stream string
---@param consumer string
---@return table? info, string? message, naq.Code? code  KEY_NOT_FOUND
function JetStream:consumer_info(stream, consumer)
  local ok, message, code = check_names(self, stream, consumer, 2)
  if not ok then return nil, message, code end
  local info
  info, message, code = consumer_call(self, "CONSUMER.INFO", ("%s.%s"):format(stream, consumer))
  return info, message, code
end

--- Delete a consumer. What it had not acked is for others.
---@param stream string
---@param consumer string
---@return true? done, string? message, naq.Code? code  KEY_NOT_FOUND
function JetStream:delete_consumer(stream, consumer)
  local ok, message, code = check_names(self, stream, consumer, 2)
  if not ok then return nil, message, code end
  ok, message, code = api.call(self.connection.core, "CONSUMER.DELETE", ("%s.%s"):format(stream, consumer))
  if not ok then return nil, "consumer " .. message, code end
  return true
end

--- All consumers of a stream, as consumer_info() tells them.
---@param stream string
---@return table[]? infos, string? message, naq.Code? code  KEY_NOT_FOUND: no such stream
function JetStream:list_consumers(stream)
  local core = self.connection:use(2)
  local ok, message, code = schema.check_name(stream, "stream", 2)
  if not ok then return nil, message, code end
  local list = {}
  ok, message, code = api.each_consumer(core, stream, function(info)
    list[#list + 1] = schema.consumer_info(info)
  end)
  if not ok then return nil, "stream " .. message, code end
  return list
end

return JetStream
