-- connections.lua -- raw connections out of the process-wide pool: opened, lent to a function, injected
-- into one, tested, counted, closed.
--
-- The forms that call a function give the connection back whatever happens in it, and let its error pass
-- through as it was raised.
local config = require("naq.config")
local connection = require("naq.connection")
local core = require("naq.core")

local connections = {}

--- A connection with a configuration that was resolved before.
---@param resolved naq.Config
---@return naq.Connection? connection, string? message, naq.Code? code
function connections.open(resolved)
  local handle, message, code = core.connect(config.connect_options(resolved))
  if not handle then return nil, message, code end
  return connection.new(handle, resolved)
end

--- A connection. Options as in naq.connect(), flat or in sections.
---@param given? table
---@param level? integer  where a misspelt option raises; 1: the calling function
---@return naq.Connection? connection, string? message, naq.Code? code
function connections.connect(given, level)
  local resolved, message, code = config.resolve(given, (level or 1) + 1)
  if not resolved then return nil, message, code end
  local ok
  ok, message, code = config.apply_logging(resolved)
  if not ok then return nil, message, code end
  return connections.open(resolved)
end

local function finish(handle, ok, ...)
  handle:close()
  if not ok then error((...), 0) end
  return ...
end

local function lend(handle, fn, ...) return finish(handle, pcall(fn, ...)) end

-- Lua 5.4 closes a variable by itself while an error passes through: whoever catches it still sees the
-- stack on which it was raised. The others cannot even parse that.
if _VERSION == "Lua 5.4" then
  lend = load("local handle <close>, fn = ... ; return fn(select(3, ...))", "=naq.connections")
end

local function check_function(fn, level)
  if type(fn) ~= "function" then error("a function expected, not a " .. type(fn), level + 1) end
end

--- Call fn(connection) and give the connection back, on an error too, which is raised again as it was.
---@param given? table  options as in naq.connect()
---@param fn fun(conn: naq.Connection): ...
---@return any ...  what fn returns; nil, message, code when there is no connection
function connections.with_connection(given, fn)
  if fn == nil then given, fn = nil, given end
  check_function(fn, 2)
  local conn, message, code = connections.connect(given, 2)
  if not conn then return nil, message, code end
  return lend(conn, fn, conn)
end

--- Call fn(jetstream, connection), as with_connection.
---@param given? table
---@param fn fun(js: naq.JetStream, conn: naq.Connection): ...
---@return any ...
function connections.with_jetstream(given, fn)
  if fn == nil then given, fn = nil, given end
  check_function(fn, 2)
  local conn, message, code = connections.connect(given, 2)
  if not conn then return nil, message, code end
  return lend(conn, function() return fn(conn:jetstream(), conn) end)
end

--- Call fn(kv, connection) with the key-value bucket of that name, opened or created, as
--- with_connection.
---@param bucket string
---@param given? table
---@param fn fun(kv: naq.KV, conn: naq.Connection): ...
---@return any ...
function connections.with_kv(bucket, given, fn)
  if fn == nil then given, fn = nil, given end
  if type(bucket) ~= "string" then error("a bucket's name must be a string, not a " .. type(bucket), 2) end
  check_function(fn, 2)
  local conn, message, code = connections.connect(given, 2)
  if not conn then return nil, message, code end
  return lend(conn, function()
    local kv, why, kind = conn:jetstream():kv(bucket)
    if not kv then return nil, why, kind end
    return fn(kv, conn)
  end)
end

--- A function that calls fn with a connection in front of its own arguments, taken from the pool for each
--- call.
---@param fn fun(conn: naq.Connection, ...): ...
---@param given? table
---@return fun(...): ...
function connections.uses_connection(fn, given)
  check_function(fn, 2)
  return function(...)
    local conn, message, code = connections.connect(given, 2)
    if not conn then return nil, message, code end
    return lend(conn, fn, conn, ...)
  end
end

--- The same with JetStream in front.
---@param fn fun(js: naq.JetStream, ...): ...
---@param given? table
---@return fun(...): ...
function connections.uses_jetstream(fn, given)
  check_function(fn, 2)
  return function(...)
    local conn, message, code = connections.connect(given, 2)
    if not conn then return nil, message, code end
    return lend(conn, function(...) return fn(conn:jetstream(), ...) end, ...)
  end
end

return connections
