-- A NATS server of a few lines that writes down what its clients say, and when: for what a real server
-- does not tell (pings, CONNECT) and would not do (stop answering, come back mute). A process of its own,
-- with luasocket.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local scribe = {}

-- Arguments: port, file, how many PINGs of a connection are answered (-1: all).
-- PUB hangup: closes that connection, and each later one as soon as it is accepted.
local PROGRAM = [[
local socket = require("socket")
local port, path, answers = arg[1], arg[2], tonumber(arg[3])
local listener = assert(socket.bind("127.0.0.1", tonumber(port), 64))
local out = assert(io.open(path, "a"))
out:setvbuf("line")
local clients, count, gone = {}, 0, false
local function note(n, text) out:write(("%d %.6f %s\n"):format(n, socket.gettime(), text)) end
note(0, "LISTENING")
local function drop(client)
  note(clients[client].number, "CLOSED")
  clients[client] = nil
  client:close()
end
local function heard(client, line)
  local state = clients[client]
  note(state.number, line)
  if line == "PING" and state.answers ~= 0 then
    state.answers = state.answers - 1
    client:send("PONG\r\n")
  elseif line:find("^PUB hangup ") then
    gone = true
    drop(client)
  end
end
while true do
  local watched = { listener }
  for client in pairs(clients) do watched[#watched + 1] = client end
  for _, ready in ipairs((socket.select(watched, nil))) do
    if ready == listener then
      local client = listener:accept()
      count = count + 1
      note(count, "ACCEPTED")
      client:settimeout(0)
      clients[client] = { number = count, answers = answers, part = "" }
      if gone then
        drop(client)
      else
        client:send('INFO {"server_id":"SCRIBE","version":"2.9.10","proto":1,"headers":true,"host":"127.0.0.1","port":'
          .. port .. ',"max_payload":1048576}\r\n')
      end
    else
      local line, why, part = ready:receive("*l", clients[ready].part)
      while line do
        heard(ready, line)
        if not clients[ready] then break end
        line, why, part = ready:receive("*l")
      end
      if clients[ready] then
        clients[ready].part = part or ""
        if why == "closed" then drop(ready) end
      end
    end
  end
end
]]

local Scribe = {}
Scribe.__index = Scribe

--- Start one. answers: how many PINGs of each connection are answered (all).
---@param options? {answers: integer?}
---@return table scribe {url, port}
function scribe.start(options)
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local self = setmetatable({ dir = assert(core.mkdtemp("naq-spec-scribe")) }, Scribe)
  self.port = assert(core.free_port(tonumber(low), tonumber(high)))
  self.url = "nats://127.0.0.1:" .. self.port
  self.file = self.dir .. "/heard"
  local program = assert(io.open(self.dir .. "/scribe.lua", "wb"))
  program:write(PROGRAM)
  program:close()
  local answers = tostring(options and options.answers or -1)
  local argv = { "lua5.4", self.dir .. "/scribe.lua", tostring(self.port), self.file, answers }
  self.pid = assert(core.spawn(argv, {
    stdout = self.dir .. "/log",
    stderr = self.dir .. "/log",
    die_with_parent = true,
    env = { LD_PRELOAD = false, LUA_PATH = false, LUA_CPATH = false },
  }))
  eventually(function()
    local ended = core.wait(self.pid, 0) ~= "running"
    if ended then error("the scribe ended: " .. assert(io.open(self.dir .. "/log")):read("*a"), 0) end
    return #self:heard() > 0
  end, 10, "the scribe on port " .. self.port)
  return self
end

--- What was heard so far: {number =, at =, text =} each, optionally only what matches a pattern; number is
--- the connection's, from 1.
---@param pattern? string
---@param number? integer
function Scribe:heard(pattern, number)
  local lines, f = {}, io.open(self.file, "rb")
  if not f then return lines end
  for n, at, text in f:read("*a"):gmatch("(%d+) (%S+) ([^\n]*)\n") do
    n = tonumber(n)
    if text:find(pattern or "") and (number == nil or n == number) then
      lines[#lines + 1] = { number = n, at = tonumber(at), text = (text:gsub("\r$", "")) }
    end
  end
  f:close()
  return lines
end

--- The CONNECT of the first connection, decoded.
function Scribe:greeting()
  local line = eventually(function() return self:heard("^CONNECT ")[1] end, 5, "a CONNECT")
  return assert(core.decode((line.text:gsub("^CONNECT ", ""))))
end

function Scribe:stop()
  core.kill(self.pid, "KILL")
  core.wait(self.pid, 10)
  core.rmtree(self.dir)
end

return scribe
