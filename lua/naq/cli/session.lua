-- session.lua: the connection that a command works on. Opens the client with what the command line
-- and the environment say, starts the server of --with-server, and says in one line what to type
-- when no server is there.

local exit = require("naq.cli.exit")

local session = {}

-- A login on the command line is seen by everybody who lists processes: not for long.
local function hide_logins(urls)
  for _, url in ipairs(require("naq.server_urls").list(urls)) do
    local login = url:match("://(.*)@")
    if login then require("naq.core").hide_argument(login) end
  end
end

--- What the command line says about the connection and the log, as options of the library.
---@param args table
---@return table
function session.options(args)
  if args.nats_url then hide_logins(args.nats_url) end
  return { servers = args.nats_url, log_level = args.log_level, config = args.config }
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
---@param args table
---@param message string
---@param code string
function session.unreachable(args, message, code)
  if not NO_SERVER[code] then exit.fail(message, code) end
  -- The core's messages name the server; to be sure of the URL is what this line is for.
  if not message:find("://", 1, true) then
    local server_urls = require("naq.server_urls")
    local resolved = require("naq.config").resolve(session.options(args))
    local urls = resolved and resolved.nats.servers or {}
    for i, url in ipairs(urls) do
      urls[i] = server_urls.public(url, "")
    end
    message = ("%s: %s"):format(table.concat(urls, ","), message)
  end
  local hint = code ~= "AUTH" and "; start a server with: naq server" or ""
  exit.fail(message .. hint, code, exit.UNREACHABLE)
end

--- The configuration that a command works with, or the end of the command.
---@param args table
---@return naq.Config
function session.configuration(args)
  local resolve = require("naq.config").resolve
  return (exit.check(exit.guard(args.command, resolve, session.options(args))))
end

--- A client, or the end of the command.
---@param args table
---@return naq.Client
function session.open(args)
  local resolved = session.configuration(args)
  -- The log is a worker's voice; of the other commands one wants to hear their own words.
  if resolved.sources["logging.level"] == "default" then resolved.logging.level = "warn" end
  exit.check(require("naq.core").configure_log(resolved.logging))
  local client, message, code = require("naq.client").open(resolved)
  if not client then session.unreachable(args, message, code) end
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
