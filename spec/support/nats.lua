-- Real NATS servers for the specs: each on its own port with its own store.
--
-- A server counts as started when it has written its ports file, which carries its process id: a
-- listener of somebody else on the same port cannot be mistaken for it.

local core = require("naq.core")
local eventually = require("spec.support.eventually")
local process = require("spec.support.process")

local nats = {}
local running = {} -- server -> true

local Server = {}
Server.__index = Server

local function binary() return os.getenv("NATS_SERVER") or "nats-server" end

local function read_file(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  return text
end

local function write_file(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

-- NAQ_SPEC_PORTS=low-high confines the servers, where several test runs share a machine.
local function free_port()
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  return assert(core.free_port(tonumber(low), tonumber(high)))
end

function Server:_config()
  local lines = {
    ('listen: "127.0.0.1:%d"'):format(self.port),
    ('server_name: "%s"'):format(self.name),
    ('ports_file_dir: "%s"'):format(self.dir),
  }
  if self.jetstream then
    lines[#lines + 1] = ('jetstream { store_dir: "%s" }'):format(self.store)
  end
  for _, line in ipairs(self.config) do
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Start the process and wait until it listens. nil when it ended first (its port was taken).
function Server:_launch()
  local conf = self.dir .. "/server.conf"
  write_file(conf, self:_config())
  self.pid = assert(core.spawn({ binary(), "-c", conf }, {
    stdout = self.logfile,
    stderr = self.logfile,
    die_with_parent = true,
    env = { LD_PRELOAD = false }, -- a sanitizer's library is for our processes
  }))
  local ports = ("%s/%s_%d.ports"):format(self.dir, binary():match("[^/]+$"), self.pid)
  local ended = false
  eventually(function()
    local text = read_file(ports)
    if text and text:find(":" .. self.port .. '"', 1, true) then return true end
    ended = core.wait(self.pid, 0) ~= "running"
    return ended, "not listening yet: " .. (self:log():match("([^\n]*)\n*$") or "")
  end, 20, "nats-server on port " .. self.port)
  if ended then
    self.pid = nil
    return false
  end
  running[self] = true
  return true
end

--- Start a server. Options, all optional: config (a list of configuration lines: auth, tls, ...),
--- port, store (a directory of an earlier server), name, jetstream (false: without), user and
--- password (for client() only; the accounts come with config).
---@return table server {url, port, pid, store, logfile}
function nats.start(options)
  options = options or {}
  local self = setmetatable({}, Server)
  self.dir = assert(core.mkdtemp("naq-spec-nats"))
  self.store = options.store or (self.dir .. "/store")
  self.logfile = self.dir .. "/server.log"
  self.config = options.config or {}
  self.name = options.name or self.dir:match("[^/]+$")
  self.jetstream = options.jetstream ~= false
  self.client_options = { user = options.user, password = options.password }
  for _ = 1, 5 do
    self.port = options.port or free_port()
    self.url = "nats://127.0.0.1:" .. self.port
    if self:_launch() then return self end
    if not self:log():find("address already in use", 1, true) then break end
  end
  local log = self:log()
  core.rmtree(self.dir)
  error("nats-server did not start: " .. log, 2)
end

function Server:log() return read_file(self.logfile) or "" end

function Server:_options(options)
  local all = { servers = { self.url } }
  for k, v in pairs(self.client_options) do
    all[k] = v
  end
  for k, v in pairs(options or {}) do
    all[k] = v
  end
  return all
end

--- A naq client of this server.
function Server:client(options) return assert(require("naq").connect(self:_options(options))) end

--- A handle of naq.connection() on this server.
function Server:connection(options) return assert(require("naq").connection(self:_options(options))) end

--- A connection of the core to this server.
function Server:connect(options) return assert(core.connect(self:_options(options))) end

-- End the process with that signal; SIGKILL when it does not end in time.
function Server:_end(signal)
  if not self.pid then return end
  core.kill(self.pid, signal)
  core.kill(self.pid, "CONT") -- a frozen one cannot end
  if core.wait(self.pid, 10) == "running" then
    core.kill(self.pid, "KILL")
    core.wait(self.pid, 10)
  end
  self.pid = nil
  running[self] = nil
end

--- Shut down in order and remove the store. Safe twice.
function Server:stop()
  self:_end("TERM")
  if self.dir then core.rmtree(self.dir) end
  self.dir = nil
end

--- SIGKILL: no file is flushed, no client told. The store stays for restart().
function Server:kill() self:_end("KILL") end

--- Shut down in order, keeping the store for restart().
function Server:halt() self:_end("TERM") end

--- Start again on the same port and store, running or not. config: other configuration lines.
function Server:restart(config)
  self:_end("TERM")
  self.config = config or self.config
  if not self:_launch() then error("nats-server did not restart: " .. self:log(), 2) end
  return self
end

--- Have the running server read other configuration lines.
function Server:reload(config)
  self.config = config
  write_file(self.dir .. "/server.conf", self:_config())
  local _, before = self:log():gsub("Reloaded server configuration", "")
  assert(core.kill(self.pid, "HUP"))
  eventually(function()
    local _, now = self:log():gsub("Reloaded server configuration", "")
    return now > before, self:log():match("([^\n]*)\n*$")
  end, 5, "the server to reload")
end

function Server:freeze() process.freeze(self.pid) end
function Server:thaw() assert(core.kill(self.pid, "CONT")) end

-- A shell that acts on the server while the calling thread is blocked in the core.
function Server:_meanwhile(script)
  return assert(core.spawn({ "sh", "-c", script }, {
    stdout = self.logfile,
    stderr = self.logfile,
    die_with_parent = true,
    env = { LD_PRELOAD = false },
  }))
end

--- SIGKILL in so many seconds, and again a server on the same port and store `down` seconds later,
--- while the caller goes on.
function Server:kill_meanwhile(after, down)
  local script = ("sleep %g; kill -KILL %d; sleep %g; exec %s -c %s/server.conf"):format(
    after,
    self.pid,
    down,
    binary(),
    self.dir
  )
  local dying = self.pid
  self.pid = self:_meanwhile(script) -- the shell becomes the new server
  return function() core.wait(dying, 10) end
end

--- Freeze in so many seconds, thaw `frozen` seconds later, while the caller goes on. Returns what
--- waits for the end of it.
function Server:freeze_meanwhile(after, frozen)
  local script = "sleep %g; kill -STOP %d; sleep %g; kill -CONT %d"
  local pid = self:_meanwhile(script:format(after, self.pid, frozen, self.pid))
  return function()
    if core.wait(pid, 60) ~= "exited" then error("the server was not thawed", 2) end
  end
end

function nats.stop_all()
  local all = {}
  for server in pairs(running) do
    all[#all + 1] = server
  end
  for _, server in ipairs(all) do
    server:stop()
  end
end

return nats
