-- What a spec of the connection itself starts from: a server and one connection to it.
--
--   local at = support.connected.plain()
--   local conn, server, js
--   setup(function() conn, server, js = at:begin() end)
--   teardown(function() at:finish() end)
local nats = require("spec.support.nats")

---@class spec.Connected
---@field server table
---@field conn naq.Connection|naq.core.Connection
local Connected = {}
Connected.__index = Connected

local connected = {}

--- A handle of naq.connection(), and its JetStream.
---@return spec.Connected
function connected.plain()
  return setmetatable({
    connect = function(server)
      local conn = server:connection()
      return conn, conn:jetstream()
    end,
  }, Connected)
end

--- A connection of the core, to a server that has the streams and buckets of jobs.
---@return spec.Connected
function connected.laid_out()
  return setmetatable({
    connect = function(server)
      local conn = server:connect()
      assert(conn:ensure_layout())
      return conn
    end,
  }, Connected)
end

---@param server_options? table  as for nats.start()
---@return table conn, table server, naq.JetStream? js
function Connected:begin(server_options)
  self.server = nats.start(server_options)
  self.conn, self.js = self.connect(self.server)
  return self.conn, self.server, self.js
end

function Connected:finish()
  self.conn:close()
  self.server:stop()
end

--- A new stream with the subjects below its name, if the configuration says no others.
function Connected:stream(name, config)
  config = config or {}
  config.subjects = config.subjects or { name .. ".>" }
  return assert(self.js:add_stream(name, config))
end

return connected
