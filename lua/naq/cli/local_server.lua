-- local_server.lua: a nats-server with JetStream on this machine, for development: found, started,
-- waited for, stopped. `naq server` keeps one in the foreground with a store of its own;
-- --with-server starts one with a temporary store that is gone with the command, even when the
-- command is killed.

local core = require("naq.core")
local exit = require("naq.cli.exit")

local local_server = {}
local Server = {}
Server.__index = Server

local START_SECONDS, STOP_SECONDS, POLL_SECONDS = 15, 15, 0.005

-- Stands between the command and a server with a temporary store: the kernel sends it SIGTERM when
-- the command died, and it stops the server and removes the store. Arguments: store, program...
local KEEPER = [[
store=$1; shift
trap 'stopping=1; [ -z "$server" ] || kill "$server" 2>/dev/null' TERM INT HUP
"$@" & server=$!
[ -z "$stopping" ] || kill "$server" 2>/dev/null
while kill -0 "$server" 2>/dev/null; do wait "$server"; status=$?; done
rm -rf -- "$store"
exit "${status:-0}"
]]

local function exists(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

--- The program, or the end of the command.
---@return string path
local function find_program()
  local named = os.getenv("NATS_SERVER")
  if named and named ~= "" then
    if named:find("/") and not exists(named) then
      exit.fail(("NATS_SERVER names %s, which is not there"):format(named), "CONFIGURATION")
    end
    return named
  end
  local path = (os.getenv("PATH") or "") .. ":/usr/sbin:/usr/local/sbin"
  for dir in path:gmatch("[^:]+") do
    if exists(dir .. "/nats-server") then return dir .. "/nats-server" end
  end
  local message = "nats-server is not installed (it is not on PATH, nor in /usr/sbin or "
    .. "/usr/local/sbin); on Debian: apt-get install nats-server"
  exit.fail(message, "CONFIGURATION")
end

-- What the server itself gave as the reason for not starting: its last fatal or error line.
local function reason(log)
  local file, found = io.open(log), nil
  if not file then return nil end
  for line in file:lines() do
    local text = line:match("%[FTL%]%s*(.*)") or line:match("%[ERR%]%s*(.*)")
      or line:match("^nats%-server:%s*(.*)")
    if text then found = text end
  end
  file:close()
  return found
end

-- A store belongs to one running server; nats-server itself does not look.
local function check_unused(store)
  local file = io.open(store .. "/nats-server.pid")
  local pid = file and math.tointeger(tonumber(file:read("l") or ""))
  if file then file:close() end
  if not pid then return end
  local command = io.open(("/proc/%d/cmdline"):format(pid))
  if not command then return end
  local line = command:read("a")
  command:close()
  if ("\0" .. line .. "\0"):find("\0" .. store .. "\0", 1, true) then
    local message = ("the store %s is in use by a running server, process %d"):format(store, pid)
    exit.fail(message, "CONFIGURATION")
  end
end

local function make_directory(path)
  local pid = core.spawn({ "mkdir", "-p", "--", path }, { stderr = "/dev/null" })
  local how, status = core.wait(pid, START_SECONDS)
  if how ~= "exited" or status ~= 0 then
    exit.fail(("cannot create the directory %s"):format(path), "CONFIGURATION")
  end
end

---@class naq.cli.Server
---@field url string
---@field pid integer
---@field port integer
---@field store string
---@field log string   path of nats-server's log

--- Start a server and wait until it accepts connections; ends the command when it does not.
---@param opts {port: integer, store: string, temporary: boolean?}
---@return naq.cli.Server
function local_server.start(opts)
  local program = find_program()
  local port, store = opts.port, opts.store
  if core.port_open(port) then
    local message = "port %d is taken: something listens on 127.0.0.1:%d already"
    exit.fail(message:format(port, port), "CONFIGURATION")
  end
  if not opts.temporary then
    make_directory(store)
    check_unused(store)
  end
  local log = store .. "/nats-server.log"
  local argv = {
    program, "--addr", "127.0.0.1", "--port", tostring(port), "--jetstream", "--store_dir", store,
    "--log", log, "--pid", store .. "/nats-server.pid",
  }
  if opts.temporary then argv = { "sh", "-c", KEEPER, "naq-server", store, table.unpack(argv) } end
  local files = { stdout = "/dev/null", stderr = log, die_with_parent = "TERM" }
  local pid = exit.check(core.spawn(argv, files))

  local url = ("nats://127.0.0.1:%d"):format(port)
  local self = setmetatable({ pid = pid, port = port, store = store, log = log, url = url }, Server)
  local deadline = core.mono() + START_SECONDS
  while not core.port_open(port) do
    if core.wait(pid, POLL_SECONDS) ~= "running" then
      local why = reason(log) or "it says nothing about why"
      exit.fail("nats-server did not start: " .. why, "CONFIGURATION")
    elseif core.mono() > deadline then
      self:stop()
      local message = "nats-server accepts no connection after %d s; its log is %s"
      exit.fail(message:format(START_SECONDS, log), "TIMEOUT")
    end
  end
  return self
end

--- The server of --with-server, or nil when something listens at url already.
---@param url? string  where it is to listen; only an address of this machine. Default: a free port
---@return naq.cli.Server?
function local_server.beside(url)
  local port
  if url then
    local host, digits = url:gsub("^%a+://", ""):gsub("^.*@", ""):match("^([^:/]+):?(%d*)/?$")
    if host ~= "127.0.0.1" and host ~= "localhost" then
      exit.usage("--with-server starts a server on this machine: leave out --nats-url, or name "
        .. "127.0.0.1 and a port")
    end
    port = digits == "" and 4222 or math.tointeger(tonumber(digits))
    if core.port_open(port) then return nil end
  end
  port = port or core.free_port()
  local store = exit.check(core.mkdtemp("naq-server"))
  return local_server.start({ port = port, store = store, temporary = true })
end

--- Where `naq server` keeps its data unless told otherwise.
---@return string
function local_server.default_store()
  local home = os.getenv("HOME")
  if not home or home == "" then
    exit.usage("HOME is not set; say where the data go: --store DIR", "naq server")
  end
  return home .. "/.naq/server"
end

--- Did it end by itself? With the reason it gave.
---@return boolean running, string? reason
function Server:running()
  if core.wait(self.pid, 0) == "running" then return true end
  return false, reason(self.log)
end

--- Stop it and wait for its end.
function Server:stop()
  core.kill(self.pid, "TERM")
  if core.wait(self.pid, STOP_SECONDS) == "running" then
    core.kill(self.pid, "KILL")
    core.wait(self.pid, STOP_SECONDS)
  end
end

return local_server
