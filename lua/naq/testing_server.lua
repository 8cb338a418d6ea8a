-- testing_server.lua -- a nats-server for one test: a port and a store of its own, gone with the test,
-- also when that is killed.
local client = require("naq.client")
local core = require("naq.core")
local errors = require("naq.errors")

local START_SECONDS, STOP_SECONDS, POLL_SECONDS, TRIES = 15, 10, 0.005, 5

---@class naq.TestServer
---@field url string
---@field port integer
local Server = {}
Server.__index = Server
Server.__name = "naq.TestServer"

local testing_server = {}

local function exists(path)
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

-- $NATS_SERVER, or nats-server where such programs are.
local function find_program()
  local named = os.getenv("NATS_SERVER")
  if named and named ~= "" then return named end
  for dir in ((os.getenv("PATH") or "") .. ":/usr/sbin:/usr/local/sbin"):gmatch("[^:]+") do
    if exists(dir .. "/nats-server") then return dir .. "/nats-server" end
  end
  return nil
end

local function read(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local text = f:read("*a")
  f:close()
  return text
end

-- Its ports file carries its process id: another listener on that port is not taken for it.
local function launch(program, port)
  local dir = assert(core.mkdtemp("naq-testing"))
  local log = dir .. "/log"
  local argv = {
    program, "--addr", "127.0.0.1", "--port", tostring(port), "--jetstream", "--store_dir", dir .. "/store",
    "--ports_file_dir", dir,
  }
  local pid, message = core.spawn(argv, { stdout = log, stderr = log, die_with_parent = true })
  if not pid then
    core.rmtree(dir)
    return nil, message
  end
  local ports = ("%s/%s_%d.ports"):format(dir, program:match("[^/]+$"), pid)
  local deadline = core.mono() + START_SECONDS
  while not read(ports):find(":" .. port .. '"', 1, true) do
    if core.wait(pid, POLL_SECONDS) ~= "running" or core.mono() > deadline then
      local why = read(log):match("%[FTL%]%s*([^\n]*)") or read(log):match("([^\n]*)\n*$")
      core.kill(pid, "KILL")
      core.wait(pid, STOP_SECONDS)
      core.rmtree(dir)
      return nil, why
    end
  end
  return { pid = pid, dir = dir, port = port, url = "nats://127.0.0.1:" .. port, clients = {} }
end

--- Start one and wait until it listens.
---@param given {port: integer?}
---@return naq.TestServer? server, string? message, naq.Code? code
function testing_server.start(given)
  local program = find_program()
  if not program then
    local message = "naq.testing: nats-server is not installed (not on PATH, nor in /usr/sbin)"
    return nil, message, errors.CONFIGURATION
  end
  local self, message
  for _ = 1, given.port and 1 or TRIES do
    self, message = launch(program, given.port or assert(core.free_port()))
    if self then return setmetatable(self, Server) end
  end
  return nil, "naq.testing: nats-server did not start: " .. tostring(message), errors.CONFIGURATION
end

--- A client of this server, closed with it.
---@param given? table  as for naq.connect()
---@return naq.Client
function Server:client(given)
  local all = { servers = { self.url } }
  for name, value in pairs(given or {}) do
    all[name] = value
  end
  local made, message = client.connect(all, 2)
  if not made then error(message, 2) end
  table.insert(self.clients, made)
  return made
end

--- A worker in this process that runs these jobs until nothing is pending or running any more. Lua 5.4.
---@param given table  as for naq.worker(): files, dirs, queues, ...
---@return {done: integer, failed: integer, retried: integer}? summary, string? message, naq.Code? code
function Server:work(given)
  local all = { servers = { self.url }, burst = true, log_level = "warn" }
  for name, value in pairs(given) do
    all[name] = value
  end
  local worker, message, code = require("naq.worker").new(all, 2)
  if not worker then return nil, message, code end
  local summary
  summary, message, code = worker:run()
  worker:close()
  return summary, message, code
end

--- Stop it and remove all that it stored. Stopping twice is fine.
function Server:stop()
  if not self.pid then return end
  for _, made in ipairs(self.clients) do
    made:close()
  end
  core.close_connections(self.url)
  core.kill(self.pid, "TERM")
  if core.wait(self.pid, STOP_SECONDS) == "running" then
    core.kill(self.pid, "KILL")
    core.wait(self.pid, STOP_SECONDS)
  end
  core.rmtree(self.dir)
  self.pid = nil
end

Server.__close = Server.stop

return testing_server
