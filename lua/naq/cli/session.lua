-- session.lua: the connection that a command works on. Opens the client with what the command line
-- and the environment say, starts the server of --with-server, and says in one line what to type
-- when no server is there.

local exit = require("naq.cli.exit")

local session = {}

--- URLs fit to be shown: without user, password and token. A password may contain commas and
--- at-signs, so everything up to the last @ before the next URL goes.
---@param urls string|string[]
---@return string
function session.public_url(urls)
  if type(urls) == "table" then urls = table.concat(urls, ",") end
  local marked = urls:gsub(",%s*(%a[%w+.-]*://)", "\n%1")
  local public = marked:gsub("[^\n]+", function(url)
    local scheme, rest = url:match("^(%a[%w+.-]*://)(.*)$")
    return (scheme or "") .. (rest or url):gsub("^.*@", "")
  end)
  return (public:gsub("\n", ","))
end

--- What the command line says about the connection and the log, as options of the library.
---@param args table
---@return table
function session.options(args)
  return { servers = args.nats_url, log_level = args.log_level }
end

--- With --with-server: a server beside the command. Without -u it takes a free port; with -u that
--- address, if nothing listens there yet. Sets args.nats_url.
---@param args table
---@return fun() stop   does nothing when no server was started
function session.beside(args)
  if not args.with_server then return function() end end
  local server = require("naq.cli.local_server").beside(args.nats_url)
  if not server then return function() end end
  args.nats_url = server.url
  io.stderr:write("naq: local server at ", server.url, " (gone with this command)\n")
  return function() server:stop() end
end

-- The codes with which opening a connection fails because nobody usable answers.
local NO_SERVER = { CONNECTION = true, AUTH = true, TIMEOUT = true }

--- End the command because the connection could not be opened.
---@param urls? string|string[]  as given on the command line; secrets are left out of the message
---@param message string
---@param code string
function session.unreachable(urls, message, code)
  if not NO_SERVER[code] then exit.fail(message, code) end
  urls = urls or os.getenv("NAQ_NATS_URL") or "nats://127.0.0.1:4222"
  -- The core's messages name the server; to be sure of the URL is what this line is for.
  if not message:find("://", 1, true) then
    message = ("%s: %s"):format(session.public_url(urls), message)
  end
  local hint = code ~= "AUTH" and "; start a server with: naq server" or ""
  exit.fail(message .. hint, code, exit.UNREACHABLE)
end

--- A client, or the end of the command.
---@param args table
---@return naq.Client
function session.open(args)
  local options = session.options(args)
  -- The log is a worker's voice; of the other commands one wants to hear their own words. A level
  -- that is none is reported by the configuration.
  local level = args.log_level or os.getenv("NAQ_LOG_LEVEL") or "warn"
  require("naq.core").configure_log({ level = level })
  local connect = require("naq").connect
  local client, message, code = exit.guard(args.command, connect, options)
  if not client then session.unreachable(options.servers, message, code) end
  return client
end

--- Open a client, hand it to fn, close it again whatever happens.
---@param args table
---@param fn fun(client: naq.Client): integer?
---@return integer? status
function session.with(args, fn)
  local client = session.open(args)
  local ok, status = xpcall(fn, exit.trace, client)
  client:close()
  if not ok then error(status, 0) end
  return status
end

return session
