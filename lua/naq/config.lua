-- config.lua -- the configuration: built-in defaults < environment NAQ_* < options given in code.
--
-- Every key stands once in KEYS: its path, its type, its default, the name it has as a flat option, and
-- the variables that set it besides NAQ_<SECTION>_<KEY>. The only module that reads the environment.
local core = require("naq.core")
local errors = require("naq.errors")
local options = require("naq.options")

local config = {}

---@class naq.ConfigKey: naq.OptionDeclaration
---@field path string
---@field flat string?   name among the options of naq.connect() and naq.worker()
---@field env string[]?
---@field secret boolean?

local function key(path, declared)
  declared.path = path
  return declared
end

local LEVELS = { "error", "warn", "info", "debug" }

local function url_problem(value)
  if value == "" or value:find("%s") then return "must be nats://[user:password@]host[:port]" end
  return nil
end

local function servers_problem(value)
  if type(value) == "string" then return url_problem(value) end
  if #value == 0 then return "must name at least one server" end
  for i = 1, #value do
    local wrong = url_problem(value[i])
    if wrong then return wrong end
  end
  return nil
end

local function name_problem(value)
  if not core.valid_id(value) then return "must be 1 to 64 of [A-Za-z0-9_-], not '" .. value .. "'" end
  return nil
end

-- In the order in which a listing shows them.
---@type naq.ConfigKey[]
config.KEYS = {
  key("nats.servers", {
    type = { "strings", "string" },
    default = { "nats://127.0.0.1:4222" },
    check = servers_problem,
    secret = true,
    flat = "servers",
    env = { "NAQ_NATS_URL" },
    doc = "servers of one cluster: a list, or a string with commas",
  }),
  key("nats.client_name", {
    type = "string",
    default = "naq",
    flat = "client_name",
    env = { "NAQ_CLIENT_NAME" },
    doc = "how the server lists the connection",
  }),
  key("nats.max_reconnect_attempts", {
    type = "integer",
    min = -1,
    default = -1,
    flat = "max_reconnect_attempts",
    env = { "NAQ_MAX_RECONNECT" },
    doc = "-1: for ever",
  }),
  key("nats.reconnect_time_wait", {
    type = "number",
    min = 0,
    default = 0.25,
    flat = "reconnect_time_wait",
    doc = "seconds before the first new attempt, backing off to 1",
  }),
  key("nats.connection_timeout", {
    type = "number",
    min = 0.001,
    default = 5,
    flat = "connection_timeout",
    doc = "seconds",
  }),
  key("nats.ping_interval", {
    type = "number",
    min = 0.001,
    default = 20,
    flat = "ping_interval",
    doc = "seconds",
  }),
  key("nats.max_outstanding_pings", {
    type = "integer",
    min = 1,
    default = 2,
    flat = "max_outstanding_pings",
    doc = "unanswered pings before the connection counts as lost",
  }),
  key("nats.pool_size", {
    type = "integer",
    min = 1,
    max = 1024,
    default = 4,
    flat = "pool_size",
    doc = "connections at most with the same servers and credentials, shared by all threads",
  }),
  key("nats.drain_timeout", {
    type = "number",
    min = 0.001,
    default = 30,
    flat = "drain_timeout",
    doc = "seconds that conn:drain() gives to what is on its way",
  }),
  key("nats.flush_timeout", {
    type = "number",
    min = 0.001,
    default = 5,
    flat = "flush_timeout",
    doc = "seconds that conn:flush() waits",
  }),
  key("nats.replicas", {
    type = "integer",
    min = 1,
    max = 5,
    flat = "replicas",
    doc = "copies of streams and buckets created (3 on a cluster, else 1)",
  }),
  key("nats.user", { type = "string", flat = "user" }),
  key("nats.password", { type = "string", flat = "password", secret = true }),
  key("nats.token", { type = "string", flat = "token", secret = true }),
  key("nats.creds_file", { type = "string", flat = "creds_file" }),
  key("nats.nkey_seed_file", { type = "string", flat = "nkey_seed_file" }),
  key("nats.tls.enabled", { type = "boolean" }),
  key("nats.tls.ca_file", { type = "string" }),
  key("nats.tls.cert_file", { type = "string" }),
  key("nats.tls.key_file", { type = "string" }),
  key("nats.tls.verify", { type = "boolean", doc = "whether the server's certificate is checked (true)" }),
  key("queues.default", {
    type = "string",
    default = "default",
    check = name_problem,
    flat = "default_queue",
    env = { "NAQ_DEFAULT_QUEUE" },
    doc = "the queue of jobs that name none",
  }),
  key("queues.prefix", {
    type = "string",
    default = "naq",
    check = name_problem,
    flat = "prefix",
    doc = "first part of the names of all subjects, streams and buckets",
  }),
  key("queues.ack_wait", {
    type = "number",
    min = 0.001,
    default = 30,
    flat = "ack_wait",
    env = { "NAQ_DEFAULT_ACK_WAIT" },
    doc = "seconds a worker may be silent before its jobs move; fixed when the queue is first served",
  }),
  key("workers.concurrency", {
    type = "integer",
    min = 1,
    max = 10000,
    flat = "concurrency",
    env = { "NAQ_WORKER_CONCURRENCY" },
    doc = "threads, each running one job at a time (the number of cores)",
  }),
  key("workers.heartbeat_interval", {
    type = "number",
    min = 0.001,
    default = 15,
    flat = "heartbeat_interval",
    env = { "NAQ_WORKER_HEARTBEAT_INTERVAL" },
    doc = "seconds between a worker's records",
  }),
  key("workers.ttl", {
    type = "number",
    min = 0.001,
    default = 60,
    flat = "worker_ttl",
    env = { "NAQ_WORKER_TTL" },
    doc = "seconds after which a silent worker is forgotten; fixed when the bucket is created",
  }),
  key("workers.max_crashes", {
    type = "integer",
    min = 0,
    default = 3,
    flat = "max_crashes",
    env = { "NAQ_WORKER_MAX_CRASHES" },
    doc = "starts without an outcome before a job is a dead letter",
  }),
  key("workers.shutdown_timeout", {
    type = "number",
    min = 0,
    default = 30,
    flat = "shutdown_timeout",
    env = { "NAQ_WORKER_SHUTDOWN_TIMEOUT" },
    doc = "seconds that running jobs get to finish",
  }),
  key("results.ttl", {
    type = "number",
    min = 0,
    default = 604800,
    flat = "result_ttl",
    env = { "NAQ_DEFAULT_RESULT_TTL" },
    doc = "seconds that a job's record is kept, where neither the job nor the call says",
  }),
  key("logging.level", {
    type = "string",
    one_of = LEVELS,
    default = "info",
    flat = "log_level",
    env = { "NAQ_LOG_LEVEL" },
  }),
  key("logging.format", { type = "string", one_of = { "text", "json" }, default = "text" }),
  key("logging.file", { type = "string", doc = "where the log goes (standard error)" }),
}

local BY_PATH, SECTIONS = {}, {}
--- Flat options: name -> path of a key or of a section.
local FLAT = { tls = "nats.tls" }
for _, k in ipairs(config.KEYS) do
  BY_PATH[k.path] = k
  if k.flat then FLAT[k.flat] = k.path end
  local section = k.path:match("^(.*)%.[^.]+$")
  while section do
    SECTIONS[section] = true
    section = section:match("^(.*)%.[^.]+$")
  end
end

--- Whether naq.connect() and naq.worker() know a flat option or a section of this name.
---@return boolean
function config.knows(name) return name == "config" or FLAT[name] ~= nil or SECTIONS[name] == true end

--- All names that config.knows, with their declarations where they are keys: for "did you mean".
---@return table<string, table>
function config.names()
  local names = {}
  for name, path in pairs(FLAT) do
    names[name] = BY_PATH[path] or {}
  end
  for name in pairs(SECTIONS) do
    if not name:find(".", 1, true) then names[name] = {} end
  end
  return names
end

local BOOLEANS = { ["true"] = true, yes = true, on = true, ["1"] = true }
local FALSES = { ["false"] = true, no = true, off = true, ["0"] = true }

-- A comma in a password ends no URL: what stands behind it has an @ and no scheme, what stands before it
-- a scheme and no @.
local function split(text)
  local items = {}
  for item in text:gmatch("[^,%s]+") do
    local last = items[#items]
    local rest = item:find("@", 1, true) and not item:find("://", 1, true)
    if rest and last and last:find("://", 1, true) and not last:find("@", 1, true) then
      items[#items] = last .. "," .. item
    else
      items[#items + 1] = item
    end
  end
  return items
end

-- Text from the environment as the key's type; text that does not fit is left for the check to refuse.
local function from_text(declared, text)
  local type_name = declared.type
  if type(type_name) == "table" then return split(text) end
  if type_name == "number" or type_name == "integer" then return tonumber(text) or text end
  if type_name == "boolean" then
    local lower = text:lower()
    if BOOLEANS[lower] then return true end
    if FALSES[lower] then return false end
  end
  return text
end

local function variables(k)
  local names = { "NAQ_" .. k.path:upper():gsub("%.", "_") }
  for _, name in ipairs(k.env or {}) do
    if name ~= names[1] then names[#names + 1] = name end
  end
  return names
end

-- An empty variable counts as unset, as a line `NAQ_NATS_URL=` in an environment file means it.
local function read_environment(values, sources, getenv)
  for _, k in ipairs(config.KEYS) do
    for _, name in ipairs(variables(k)) do
      local text = getenv(name)
      if text and text ~= "" then
        local value = from_text(k, text)
        local problem = options.problem(k, value)
        if problem then
          if k.secret then problem = problem:gsub(", not .*", "") end
          return nil, ("environment variable %s %s"):format(name, problem), errors.CONFIGURATION
        end
        values[k.path] = value
        sources[k.path] = "environment " .. name
        break
      end
    end
  end
  return true
end

local function read_options(values, sources, given, prefix, level)
  for name, value in pairs(given) do
    local path = prefix and (prefix .. "." .. tostring(name)) or FLAT[name] or tostring(name)
    local k = BY_PATH[path]
    if k then
      local problem = options.problem(k, value)
      if problem then
        if k.secret then problem = problem:gsub(", not .*", "") end
        error(("option '%s' %s"):format(name, problem), level + 1)
      end
      values[path] = value
      sources[path] = "options"
    elseif not SECTIONS[path] then
      error(options.unknown(prefix and {} or config.names(), prefix and path or name), level + 1)
    elseif type(value) ~= "table" then
      error(("option '%s' must be a table, not a %s"):format(path, type(value)), level + 1)
    else
      read_options(values, sources, value, path, level + 1)
    end
  end
end

local function with_scheme(servers)
  if type(servers) == "string" then servers = split(servers) end
  local urls = {}
  for i, url in ipairs(servers) do
    urls[i] = url:find("://", 1, true) and url or ("nats://" .. url)
  end
  return urls
end

local function nest(values)
  local nested = {}
  for path, value in pairs(values) do
    local into = nested
    for section in path:gmatch("([^.]+)%.") do
      into[section] = into[section] or {}
      into = into[section]
    end
    into[path:match("[^.]+$")] = value
  end
  return nested
end

---@class naq.Config
---@field nats table      servers (a list), client_name, user, tls, ...
---@field queues {default: string, prefix: string, ack_wait: number}
---@field workers table   concurrency, heartbeat_interval, ttl, max_crashes, shutdown_timeout
---@field results {ttl: number}
---@field logging {level: string, format: string, file: string?}
---@field sources table<string, string>  path -> "default", "environment NAQ_X" or "options"

--- The merged configuration. Options are flat ({ servers = ..., prefix = ... }) or in sections ({ nats =
--- { servers = ... } }). An option that is unknown or of the wrong type raises at `level`, counted from
--- the function that calls this one; a variable of the wrong type is an error to report.
---@param given table?
---@param level integer?    1
---@param getenv (fun(name: string): string?)?  os.getenv
---@return naq.Config? config, string? message, naq.Code? code  CONFIGURATION, UNSUPPORTED
function config.resolve(given, level, getenv)
  level, getenv = level or 1, getenv or os.getenv
  if given ~= nil and type(given) ~= "table" then
    error("options must be a table, not a " .. type(given), level + 1)
  end
  local values, sources = {}, {}
  for _, k in ipairs(config.KEYS) do
    values[k.path] = k.default
    if k.default ~= nil then sources[k.path] = "default" end
  end
  values["workers.concurrency"] = core.cpu_count()
  sources["workers.concurrency"] = "default"

  local file = getenv("NAQ_CONFIG")
  if file == "" then file = nil end
  if given and given.config ~= nil then file = given.config end
  if file then
    local problem = "configuration file %s: not supported by this version"
    return nil, problem:format(tostring(file)), errors.UNSUPPORTED
  end

  local ok, message, code = read_environment(values, sources, getenv)
  if not ok then return nil, message, code end
  if given then read_options(values, sources, given, nil, level + 1) end
  values["nats.servers"] = with_scheme(values["nats.servers"])
  local resolved = nest(values)
  resolved.sources = sources
  return resolved
end

--- What core.connect wants to know.
---@param resolved naq.Config
---@return naq.ConnectOptions
function config.connect_options(resolved)
  local nats = resolved.nats
  return {
    servers = nats.servers,
    name = nats.client_name,
    user = nats.user,
    password = nats.password,
    token = nats.token,
    creds_file = nats.creds_file,
    nkey_seed_file = nats.nkey_seed_file,
    tls = nats.tls,
    connection_timeout = nats.connection_timeout,
    reconnect_time_wait = nats.reconnect_time_wait,
    max_reconnect_attempts = nats.max_reconnect_attempts,
    ping_interval = nats.ping_interval,
    max_outstanding_pings = nats.max_outstanding_pings,
    pool_size = nats.pool_size,
    drain_timeout = nats.drain_timeout,
    flush_timeout = nats.flush_timeout,
  }
end

return config
