-- config.lua -- the configuration: built-in defaults < file < environment NAQ_* < options given in code.
--
-- The keys are in config_keys.lua, the file is read by config_file.lua; here the four are laid over each
-- other, each value with its source. Read once, when something connects: what is resolved here is handed
-- on, and nobody below reads files or the environment again.
local config_file = require("naq.config_file")
local core = require("naq.core")
local errors = require("naq.errors")
local id_rule = require("naq.id_rule")
local keys = require("naq.config_keys")
local options = require("naq.options")
local quantity = require("naq.quantity")

local config = {}

--- Whether naq.connect() and naq.worker() know a flat option or a section of this name.
---@return boolean
function config.knows(name) return keys.options()[name] ~= nil end

--- All names that config.knows, with their declarations where they are keys: for "did you mean".
---@return table<string, table>
config.names = keys.options

-- What is merged: values and their sources by path. Where a problem is one of the world, it is kept in
-- problems; the caller's own mistakes raise.
---@class naq.ConfigMerge
---@field values table<string, any>
---@field sources table<string, string>
---@field problems naq.ConfigProblem[]

local function set(merge, path, value, source)
  merge.values[path] = value
  merge.sources[path] = source
end

local function add_defaults(merge)
  for _, k in ipairs(keys.LIST) do
    if k.default ~= nil then set(merge, k.path, k.default, "default") end
  end
  set(merge, "workers.concurrency", core.cpu_count(), "default")
end

-- An empty variable counts as unset, as a line `NAQ_NATS_URL=` in an environment file means it.
local function add_variable(merge, k, path, names, getenv)
  for _, name in ipairs(names) do
    local text = getenv(name)
    if text and text ~= "" then
      local value = quantity.from_text(k.type, text)
      local problem = keys.problem(k, value)
      if problem then
        local message = ("environment variable %s %s"):format(name, problem)
        merge.problems[#merge.problems + 1] = { message = message }
      else
        set(merge, path, value, "environment " .. name)
      end
      return
    end
  end
end

local function add_environment(merge, queues, getenv)
  for _, k in ipairs(keys.LIST) do
    if not k.of_queue then
      add_variable(merge, k, k.path, k.env, getenv)
    else
      local leaf = k.of_queue
      for _, queue in ipairs(queues) do
        local path = ("queues.configs.%s.%s"):format(queue, leaf)
        local name = "NAQ_" .. path:upper():gsub("[.-]", "_")
        add_variable(merge, k, path, { name }, getenv)
      end
    end
  end
end

-- The queues that the file or the options configure: the environment cannot be asked for names.
local function configured_queues(merge, given)
  local names, seen = {}, {}
  local function add(name)
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  for path in pairs(merge.values) do
    local section = path:match("^(queues%.configs%..*)%.[^.]+$")
    if section then add(keys.queue_of(section)) end
  end
  local queues = given and (given.queue_configs or type(given.queues) == "table" and given.queues.configs)
  for name in pairs(type(queues) == "table" and queues or {}) do
    if type(name) == "string" then add(name) end
  end
  return names
end

local function unknown_option(name, section)
  if not section then return options.unknown(keys.options(), name) end
  local known = {}
  for each in pairs(keys.names_in(section)) do
    known[section .. "." .. each] = true
  end
  return options.unknown(known, section .. "." .. tostring(name))
end

local function add_options(merge, given, prefix, level)
  for name, value in pairs(given) do
    local flat = not prefix and keys.path_of_option(name)
    local path = prefix and (prefix .. "." .. tostring(name)) or flat or tostring(name)
    local k = keys.find(path)
    if k and (prefix or flat) then
      local problem = keys.problem(k, value)
      if problem then error(("option '%s' %s"):format(name, problem), level + 1) end
      if merge.sources[path] == "options" then
        error(("option '%s' is given twice, flat and in its section"):format(path), level + 1)
      end
      set(merge, path, value, "options")
    elseif keys.queue_of(path) and id_rule.problem(name) then
      error("option 'queues.configs': a queue's name " .. id_rule.problem(name), level + 1)
    elseif not keys.is_section(path) then
      error(unknown_option(name, prefix), level + 1)
    elseif type(value) ~= "table" then
      error(("option '%s' must be a table, not a %s"):format(path, type(value)), level + 1)
    else
      add_options(merge, value, path, level + 1)
    end
  end
end

-- What no single key can say.
local function add_contradictions(merge)
  local values, sources = merge.values, merge.sources
  local function bad(path, text)
    local message = ("%s %s (from: %s)"):format(path, text, sources[path])
    merge.problems[#merge.problems + 1] = { message = message }
  end
  if values["nats.tls.cert_file"] and not values["nats.tls.key_file"] then
    bad("nats.tls.cert_file", "needs nats.tls.key_file beside it")
  elseif values["nats.tls.key_file"] and not values["nats.tls.cert_file"] then
    bad("nats.tls.key_file", "needs nats.tls.cert_file beside it")
  end
  if values["nats.password"] and not values["nats.user"] then
    bad("nats.password", "needs nats.user beside it")
  end
end

local function nest(values)
  local nested = { queues = { configs = {} } }
  for path, value in pairs(values) do
    local into, parts = nested, keys.parts(path)
    for i = 1, #parts - 1 do
      into[parts[i]] = into[parts[i]] or {}
      into = into[parts[i]]
    end
    into[parts[#parts]] = value
  end
  return nested
end

---@class naq.Config
---@field nats table      servers (a list), client_name, user, tls, ...
---@field queues {default: string, prefix: string, ack_wait: number, configs: table<string, table>}
---@field workers table   concurrency, heartbeat_interval, ttl, max_crashes, shutdown_timeout, ...
---@field scheduler table
---@field events table
---@field results {ttl: number}
---@field failed {max_age: number, max_bytes: integer}
---@field logging {level: string, format: string, file: string?}
---@field dashboard {host: string, port: integer}
---@field sources table<string, string>  path -> "default", "file naq.yaml:12", "environment NAQ_X", "options"
---@field file string?  the file that was read

--- Merge everything, whatever is wrong with it. Raises for options as resolve() does.
---@param given table?
---@param level integer
---@param getenv fun(name: string): string?
---@return naq.ConfigMerge merge
local function merge_all(given, level, getenv)
  if given ~= nil and type(given) ~= "table" then
    error("options must be a table, not a " .. type(given), level + 1)
  end
  local named = given and given.config
  if named ~= nil and named ~= false and type(named) ~= "string" then
    error("option 'config' must be a file's name, or false for none, not a " .. type(named), level + 1)
  end
  local merge = { values = {}, sources = {}, problems = {} }
  add_defaults(merge)
  if named ~= false then config.add_file(merge, named, getenv) end
  local rest
  if given then
    rest = {}
    for name, value in pairs(given) do
      if name ~= "config" then rest[name] = value end
    end
  end
  add_environment(merge, configured_queues(merge, rest), getenv)
  if rest then add_options(merge, rest, nil, level + 1) end
  if #merge.problems == 0 then add_contradictions(merge) end
  return merge
end

--- The configuration file, laid over the defaults.
---@param merge naq.ConfigMerge
---@param named string?
---@param getenv fun(name: string): string?
function config.add_file(merge, named, getenv)
  local function variable(name)
    local value = getenv(name)
    return value ~= "" and value or nil
  end
  local path, text, message = config_file.find(named or variable("NAQ_CONFIG"), getenv)
  local chosen = variable("NAQ_ENVIRONMENT")
  if message then
    merge.problems[1] = { file = "configuration file " .. path, message = message }
  elseif path then
    local values, sources
    values, sources, merge.problems = config_file.read(path, text, getenv)
    merge.file = path
    for at, value in pairs(values) do
      set(merge, at, value, sources[at])
    end
  elseif chosen then
    local problem = ("NAQ_ENVIRONMENT is '%s', and there is no configuration file that has it"):format(chosen)
    merge.problems[1] = { message = problem }
  end
end

--- The merged configuration. Options are flat ({ servers = ..., prefix = ... }) or in sections ({ nats =
--- { servers = ... } }); config = "naq.yaml" names the file, false none. An option that is unknown or of
--- the wrong type raises at `level`, counted from the function that calls this one; what is wrong in the
--- file or the environment is an error to report.
---@param given table?
---@param level integer?    1
---@param getenv (fun(name: string): string?)?  os.getenv
---@return naq.Config? config, string? message, naq.Code? code  CONFIGURATION
function config.resolve(given, level, getenv)
  local merge = merge_all(given, (level or 1) + 1, getenv or os.getenv)
  local count = #merge.problems
  if count > 0 then
    local message = config_file.sentence(merge.problems[1])
    if count > 1 then message = ("%s (and %d more: naq config validate)"):format(message, count - 1) end
    return nil, message, errors.CONFIGURATION
  end
  for path, value in pairs(merge.values) do
    local k = keys.find(path)
    if k.normal then merge.values[path] = k.normal(value) end
  end
  local resolved = nest(merge.values)
  resolved.sources, resolved.file = merge.sources, merge.file
  return resolved
end

--- The same for what has options of its own, to which those of the configuration may be added.
---@param declared table<string, naq.OptionDeclaration>
---@param given table
---@param level integer?    1
---@return table? own, naq.Config|string config_or_message, naq.Code? code  CONFIGURATION
function config.resolve_beside(declared, given, level)
  level = level or 1
  local own, rest = {}, {}
  for name, value in pairs(given) do
    if declared[name] then
      own[name] = value
    elseif config.knows(name) then
      rest[name] = value
    else
      local all = config.names()
      for known, declaration in pairs(declared) do
        all[known] = declaration
      end
      error(options.unknown(all, name), level + 1)
    end
  end
  options.apply(declared, own, level + 1)
  local resolved, message, code = config.resolve(rest, level + 1)
  if not resolved then return nil, message, code end
  return own, resolved
end

--- All that is wrong with the configuration, in the order of the file's lines; empty when it is fine.
---@param given table?
---@param getenv (fun(name: string): string?)?  os.getenv
---@return naq.ConfigProblem[] problems, string? file
function config.problems(given, getenv)
  local merge = merge_all(given, 2, getenv or os.getenv)
  return merge.problems, merge.file
end

local LOGGING = { "logging.level", "logging.format", "logging.file" }
local applied

--- Set the log up as a configuration says. It is the process's: a configuration that says nothing about it
--- leaves it as it is.
---@param resolved naq.Config
---@return true? done, string? message, naq.Code? code  CONFIGURATION: the file cannot be opened
function config.apply_logging(resolved)
  local said, wanted = false, ""
  for _, path in ipairs(LOGGING) do
    said = said or resolved.sources[path] ~= nil and resolved.sources[path] ~= "default"
    wanted = wanted .. tostring(resolved.logging[path:match("[^.]+$")]) .. "\0"
  end
  if not said or wanted == applied then return true end
  local done, message, code = core.configure_log(resolved.logging)
  if not done then return nil, message, code end
  applied = wanted
  return true
end

--- What was set and has no effect in this version, one sentence each.
---@param resolved naq.Config
---@return string[]
function config.unused(resolved)
  local sentences = {}
  for path, source in pairs(resolved.sources) do
    local later = source ~= "default" and keys.find(path).later
    if later then
      local text = "%s (%s) has no effect: %s is not in this version"
      sentences[#sentences + 1] = text:format(path, source, later)
    end
  end
  table.sort(sentences)
  return sentences
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
    drain_timeout = nats.drain_timeout,
    flush_timeout = nats.flush_timeout,
    pool_size = nats.pool_size,
  }
end

return config
