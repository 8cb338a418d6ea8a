-- parser.lua: the words behind a command's name, checked against the command's declaration by an
-- argparse parser built for it alone: all commands' together would cost more than the rest of the
-- program's start.
--
-- A command declares what it takes in two lists, from which its help is made too:
--   arguments = { { "queue", args = "*", doc = "the queues" } }
--   options   = { { "-c --concurrency", "N", convert = parser.count, doc = "threads" },
--                 { "--burst", doc = "exit when nothing is pending" } }       -- no value: a flag
-- Further fields of both are argparse's properties (args, count, convert, default, choices).

local argparse = require("argparse")
local exit = require("naq.cli.exit")

local parser = {}

local LEVELS = { debug = "debug", info = "info", warn = "warn", warning = "warn", error = "error" }

local function level(text)
  local found = LEVELS[text:lower()]
  if found then return found end
  return nil, ("'%s' is not a log level: debug, info, warn or error"):format(text)
end

--- The options of every command. They may stand before the command's name too.
parser.COMMON = {
  { "-u --nats-url", "URL", doc = "the server: nats://[user:password@]host:port, several separated "
    .. "by commas (default: the configuration's, or nats://127.0.0.1:4222)" },
  { "--config", "FILE", doc = "the configuration file (default: $NAQ_CONFIG, or the first of "
    .. "./naq.yaml, ~/.naq/config.yaml, /etc/naq/config.yaml)" },
  { "-l --log-level", "LEVEL", convert = level, doc = "debug, info, warn or error" },
  { "--json", doc = "machine-readable output: one JSON object a line" },
  { "-h --help", doc = "show this help" },
}

--- Those of them whose value is the next word.
parser.LEADING = {
  ["-u"] = true,
  ["--nats-url"] = true,
  ["--config"] = true,
  ["-l"] = true,
  ["--log-level"] = true,
}

local function configure(element, declaration)
  for property, value in pairs(declaration) do
    if type(property) == "string" and property ~= "doc" then element[property](element, value) end
  end
end

local function add_options(p, options)
  for _, declaration in ipairs(options or {}) do
    local name, value = declaration[1], declaration[2]
    configure(value and p:option(name):argname(value) or p:flag(name), declaration)
  end
end

--- Is one of the wanted words among them, before a `--`?
---@param words string[]
---@param ... string
---@return boolean
function parser.has(words, ...)
  for _, word in ipairs(words) do
    if word == "--" then return false end
    for _, wanted in ipairs({ ... }) do
      if word == wanted then return true end
    end
  end
  return false
end

--- Parse the words behind a command's name.
---@param name string         in full: "naq job show"
---@param command table       {arguments?, options?, ...}
---@param words string[]
---@return table args         by long name, dashes as underscores; ends the command on wrong usage
function parser.parse(name, command, words)
  if parser.has(words, "-h", "--help") then
    error({ help = require("naq.cli.help").command(name, command, parser.COMMON) }, 0)
  end
  local p = argparse(name):add_help(false)
  for _, declaration in ipairs(command.arguments or {}) do
    configure(p:argument(declaration[1]), declaration)
  end
  add_options(p, command.options)
  add_options(p, parser.COMMON)
  local ok, args = p:pparse(words)
  if not ok then exit.usage((args:gsub("\nDid", "; did")), name) end
  return args
end

-- Converters for values -------------------------------------------------------------------------

function parser.seconds(text)
  local n = tonumber(text)
  if n and n >= 0 and n < math.huge then return n end
  return nil, ("'%s' is not a number of seconds"):format(text)
end

function parser.count(text)
  local n = math.tointeger(tonumber(text))
  if not n or n < 1 then return nil, ("'%s' is not a whole number above 0"):format(text) end
  return n
end

function parser.port(text)
  local n = math.tointeger(tonumber(text))
  if not n or n < 1 or n > 65535 then return nil, ("'%s' is not a port"):format(text) end
  return n
end

return parser
