-- The naq command and its workers as real processes.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local process = {}
local ours = {} -- process object -> true, until its files are gone

local function support() return package.loaded["spec.support"] end

local function read_file(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local text = f:read("*a")
  f:close()
  return text
end

-- Workers run on 5.4, so the command does too, whatever runs the specs.
local function command(args)
  local argv = { os.getenv("NAQ_LUA") or "lua5.4", support().root .. "/bin/naq" }
  for _, a in ipairs(args) do
    argv[#argv + 1] = tostring(a)
  end
  return argv
end

local function environment(extra)
  local env = {
    LUA_PATH = support().lua_path,
    LUA_CPATH = support().lua_cpath,
    LUA_PATH_5_4 = false,
    LUA_CPATH_5_4 = false,
    LD_PRELOAD = support().preload,
  }
  for k, v in pairs(extra or {}) do
    env[k] = v
  end
  return env
end

--- Run bin/naq to its end. Arguments: strings, then optionally a table {env =, cwd =, seconds = 60}.
---@return integer status  128 + n when a signal ended it
---@return string stdout
---@return string stderr
function process.naq(...)
  local args = { ... }
  local options = type(args[#args]) == "table" and table.remove(args) or {}
  local dir = assert(core.mkdtemp("naq-spec-run"))
  local out, errors = dir .. "/out", dir .. "/err"
  local pid = assert(core.spawn(command(args), {
    stdout = out,
    stderr = errors,
    env = environment(options.env),
    cwd = options.cwd,
    die_with_parent = true,
  }))
  local state, status = core.wait(pid, options.seconds or 60)
  if state == "running" then
    core.kill(-pid, "KILL")
    core.wait(pid, 10)
  end
  local stdout, stderr = read_file(out), read_file(errors)
  core.rmtree(dir)
  if state == "running" then
    error(
      ("naq %s: still running after %g s\n%s%s"):format(
        table.concat(args, " "),
        options.seconds or 60,
        stdout,
        stderr
      ),
      2
    )
  end
  return state == "signaled" and 128 + status or status, stdout, stderr
end

local Process = {}
Process.__index = Process

function Process:kill() assert(core.kill(self.pid, "KILL")) end
function Process:term() assert(core.kill(self.pid, "TERM")) end
function Process:signal(name) assert(core.kill(self.pid, name)) end
function Process:interrupt() assert(core.kill(self.pid, "INT")) end
--- SIGSTOP, and wait until it has taken effect: the process may be on a core at that moment.
function process.freeze(pid)
  assert(core.kill(pid, "STOP"))
  eventually(function()
    local state = read_file("/proc/" .. pid .. "/stat"):match("%) (%a)")
    return state == "T" or state == "t", state
  end, 5, "process " .. pid .. " to stand still")
end

function Process:freeze() process.freeze(self.pid) end
function Process:thaw() assert(core.kill(self.pid, "CONT")) end
function Process:log() return read_file(self.logfile) end
function Process:stdout() return read_file(self.outfile) end

--- Wait for its end: "exited", status or "signaled", signal or "running". May be asked again.
function Process:wait(seconds)
  if not self.state then
    local state, code = core.wait(self.pid, seconds or 10)
    if state == "running" then return state end
    self.state, self.code = state, code
  end
  return self.state, self.code
end

--- Fails, with its log, unless it ends by itself with that status.
function Process:ends(status, seconds)
  local state, code = self:wait(seconds)
  if state == "exited" and code == status then return end
  local what = state == "running" and "still runs" or ("%s with %s"):format(state, code)
  error(("process %d %s, not with %d\n%s"):format(self.pid, what, status, self:log()), 2)
end

--- End it in order: its scheduler gives its lease back, so that the next one need not wait for the
--- lease's end. Forgets its files.
function Process:finish()
  self:term()
  self:ends(0, 20)
  self:stop()
end

--- End it for good and forget its files. Safe twice.
function Process:stop()
  if not self.state then
    core.kill(self.pid, "KILL")
    self:wait()
  end
  if self.dir then core.rmtree(self.dir) end
  self.dir = nil
  ours[self] = nil
end

--- Start bin/naq with these arguments and leave it running: log() is its standard error.
---@param options? {env: table?, cwd: string?}
function process.start(args, options)
  options = options or {}
  local dir = assert(core.mkdtemp("naq-spec-proc"))
  local self = setmetatable({ dir = dir, logfile = dir .. "/err", outfile = dir .. "/out" }, Process)
  self.pid = assert(core.spawn(command(args), {
    stdout = self.outfile,
    stderr = self.logfile,
    env = environment(options.env),
    cwd = options.cwd,
    die_with_parent = true,
  }))
  ours[self] = true
  return self
end

--- Start `naq worker`: {url =, queues = {}, jobs = {files}, dirs = {}, threads =, name =, level =,
--- args = {more arguments}, env = {}}.
function process.start_worker(options)
  local args = { "worker", "-u", options.url }
  local function add(...)
    for _, a in ipairs({ ... }) do
      args[#args + 1] = a
    end
  end
  for _, queue in ipairs(options.queues or {}) do
    add(queue)
  end
  for _, file in ipairs(options.jobs or {}) do
    add("--jobs", file)
  end
  for _, dir in ipairs(options.dirs or {}) do
    add("-m", dir)
  end
  if options.threads then add("-c", options.threads) end
  if options.name then add("-n", options.name) end
  add("-l", options.level or "info")
  for _, a in ipairs(options.args or {}) do
    add(a)
  end
  return process.start(args, options)
end

--- Those that this file has not stopped yet, also the ones that have ended.
function process.stop_all()
  local all = {}
  for p in pairs(ours) do
    all[#all + 1] = p
  end
  for _, p in ipairs(all) do
    p:stop()
  end
end

return process
