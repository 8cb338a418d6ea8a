-- connections.lua -- raw connections out of the process-wide pool: opened, lent to a function, injected
-- into one, tested, counted, closed.
--
-- The forms that call a function give the connection back whatever happens in it, and let its error pass
-- through as it was raised.
local config = require("naq.config")
local config_memory = require("naq.config_memory")
local connection = require("naq.connection")
local core = require("naq.core")
local errors = require("naq.errors")

local connections = {}

--- A connection with a configuration that was resolved before.
---@param resolved naq.Config
---@return naq.Connection? connection, string? message, naq.Code? code
function connections.open(resolved)
  local handle, message, code = core.connect(config.connect_options(resolved))
  if not handle then return nil, message, code end
  return connection.new(handle, resolved)
end

-- What another connection was opened with (conn.config) needs no reading again.
local function resolve(given, level)
  if type(given) == "table" and given.sources and given.nats then return given end
  local resolved, message, code = config_memory.resolve(given, level + 1)
  if not resolved then return nil, message, code end
  local applied
  applied, message, code = config.apply_logging(resolved)
  if not applied then return nil, message, code end
  return resolved
end

--- A connection. Options as in naq.connect(), flat or in sections, or the `config` of another connection,
--- which spares reading the environment and the file again.
---@param given? table
---@param level? integer  where a misspelt option raises; 1: the calling function
---@return naq.Connection? connection, string? message, naq.Code? code
function connections.connect(given, level)
  local resolved, message, code = resolve(given, (level or 1) + 1)
  if not resolved then return nil, message, code end
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

-- A function that takes a connection from the pool for each call. The configuration is read by the first.
local function injecting(given, call)
  local resolved
  return function(...)
    local message, code
    if not resolved then
      resolved, message, code = resolve(given, 2)
      if not resolved then return nil, message, code end
    end
    local conn
    conn, message, code = connections.open(resolved)
    if not conn then return nil, message, code end
    return lend(conn, call, conn, ...)
  end
end

--- A function that calls fn with a connection in front of its own arguments, taken from the pool for each
--- call. The configuration is read by the first call.
---@param fn fun(conn: naq.Connection, ...): ...
---@param given? table
---@return fun(...): ...
function connections.uses_connection(fn, given)
  check_function(fn, 2)
  return injecting(given, fn)
end

--- The same with JetStream in front.
---@param fn fun(js: naq.JetStream, ...): ...
---@param given? table
---@return fun(...): ...
function connections.uses_jetstream(fn, given)
  check_function(fn, 2)
  return injecting(given, function(conn, ...) return fn(conn:jetstream(), ...) end)
end

--- Connect once, outside the pool, and ask the server for a sign of life: does this configuration work?
---@param given? table
---@return true? works, {connect_time: number, rtt: number, url: string}|string timing, naq.Code? code
function connections.test_connection(given)
  local resolved, message, code = resolve(given, 2)
  if not resolved then return nil, message, code end
  local timing
  timing, message, code = core.test_connection(config.connect_options(resolved))
  if not timing then return nil, message, code end
  return true, timing
end

-- What no waiting changes.
local HOPELESS = { CONFIGURATION = true, UNSUPPORTED = true, FORKED = true, AUTH = true }
local PAUSE, PAUSE_MAX = 0.05, 0.5

--- Try until the server is there, for a program that starts beside it. What waiting cannot change (a refused
--- login, a configuration that cannot work) is told at once.
---@param seconds number
---@param given? table
---@return true? there, string? message, naq.Code? code  TIMEOUT
function connections.wait_for_connection(seconds, given)
  if type(seconds) ~= "number" or not (seconds > 0 and seconds < 1e6) then
    error("a positive number of seconds expected", 2)
  end
  local deadline = core.mono() + seconds
  local resolved, message, code = resolve(given, 2)
  if not resolved then return nil, message, code end
  local wanted, pause = config.connect_options(resolved), PAUSE
  while true do
    local left = deadline - core.mono()
    if left <= 0 then break end
    local timing
    timing, message, code = core.test_connection(wanted, left)
    if timing then return true end
    if HOPELESS[code] then return nil, message, code end
    core.sleep(math.max(0, math.min(pause, deadline - core.mono())))
    pause = math.min(pause * 2, PAUSE_MAX)
  end
  return nil, ("no connection within %g s: %s"):format(seconds, message or "no time to try"), errors.TIMEOUT
end

---@class naq.ConnectionNumbers
---@field opened integer   connections, since the process began
---@field open integer     now
---@field active integer   of these, in use
---@field handles integer  that use them
---@field reused integer   handles that got a connection which was there
---@field failed integer   attempts
---@field reconnects integer
---@field mean_connect_time number?  seconds; nil before the first
---@field last_connect_time number?

---@class naq.ConnectionStats: naq.ConnectionNumbers
---@field pools naq.ConnectionNumbers[]  by servers and credentials; each with `servers`, without secrets

--- What the pool of this process has done.
---@return naq.ConnectionStats
function connections.connection_stats() return core.connection_stats() end

local function check_servers(servers, level)
  if type(servers) == "string" then return { servers } end
  if type(servers) ~= "table" or #servers == 0 then
    error("a server's URL, or a list of them, expected", level + 1)
  end
  for i = 1, #servers do
    if type(servers[i]) ~= "string" then
      error("a server's URL must be a string, not a " .. type(servers[i]), level + 1)
    end
  end
  return servers
end

--- Close the pool's connections to any of these servers, whoever uses them: what they published goes out, and
--- their handles answer CLOSED from then on. Those of a worker in this process stay.
---@param servers string|string[]
---@return integer closed
function connections.close_connections(servers) return core.close_connections(check_servers(servers, 2)) end

--- The same for all connections. They are closed at the end of the process in any case.
---@return integer closed
function connections.close_all() return core.close_connections() end

return connections
