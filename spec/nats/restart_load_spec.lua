-- A server killed and started again under load: processes that publish, ask, enqueue and keep values go
-- on by themselves. Every call returns what it should, or a code; and soon after the server is back, all
-- of them work again.

local core = require("naq.core")
local support = require("spec.support")
local eventually, nats, process = support.eventually, support.nats, support.process

local PROCESSES = 4

-- Loops over its operations until told to stop, then writes what it saw as one JSON object.
local PROGRAM = [[
local naq, core = require("naq"), require("naq.core")
local folder, name = arg[1], arg[2]
local conn = assert(naq.connection())
local client = assert(naq.connect())
local kv = assert(conn:jetstream():kv("load"))
local queue = client:queue("load")
assert(queue:enqueue("x"))

local operations = {
  function(i) return conn:publish("load.news", tostring(i)) end,
  function() return conn:request("$JS.API.INFO", "", 2) end,
  function(i) return kv:put(name, tostring(i)) end,
  function() return kv:get(name) end,
  function() return queue:enqueue("x") end,
}
local seen = { done = 0, codes = {}, wrong = {}, longest = 0 }
local fine = {} -- when each operation last began and went well

local function exists(file)
  local f = io.open(folder .. "/" .. file)
  return f ~= nil and f:close()
end

local i = 0
repeat
  i = i + 1
  for k, operation in ipairs(operations) do
    local begun = core.mono()
    local ok, value, message, code = pcall(operation, i)
    local took = core.mono() - begun
    if took > seen.longest then seen.longest = took end
    if not ok then
      seen.wrong[#seen.wrong + 1] = tostring(value)
    elseif value ~= nil then
      seen.done, fine[k] = seen.done + 1, begun
    elseif type(message) ~= "string" or not naq.errors[code] then
      seen.wrong[#seen.wrong + 1] = tostring(message) .. " " .. tostring(code)
    else
      seen.codes[code] = (seen.codes[code] or 0) + 1
    end
  end
until #seen.wrong > 0 or exists("stop")
seen.fine = naq.array and naq.array(fine) or fine
local f = assert(io.open(folder .. "/" .. name .. ".tmp", "w"))
f:write(core.encode(seen))
f:close()
os.rename(folder .. "/" .. name .. ".tmp", folder .. "/" .. name .. ".json")
]]

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  return text
end

describe("a server that is restarted under load", function()
  local server, folder, running

  setup(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-load"))
    write(folder .. "/program.lua", PROGRAM)
    running = {}
    for i = 1, PROCESSES do
      local args = { "run", folder .. "/program.lua", folder, "p" .. i }
      running[i] = process.start(args, { env = { NAQ_NATS_URL = server.url } })
    end
  end)

  teardown(function()
    for _, one in ipairs(running) do
      one:stop()
    end
    server:stop()
    core.rmtree(folder)
  end)

  it("is used again within two seconds by everybody, and nobody saw more than a code", function()
    local conn = server:connect()
    local back
    for _ = 1, 3 do
      local before = core.mono()
      eventually(function() return core.mono() - before > 0.5 end, 2, "some load")
      server:kill()
      server:restart()
      eventually(function() return conn:request("$JS.API.INFO", "", 1) end, 10, "the server")
      back = core.mono()
    end
    conn:close()
    eventually(function() return core.mono() - back > 2 end, 5, "two seconds")
    local stopped = core.mono()
    write(folder .. "/stop", "")
    for i, one in ipairs(running) do
      local report = folder .. "/p" .. i .. ".json"
      eventually(function() return read(report), one:log() end, 3, "the report of process " .. i)
      local seen = assert(core.decode(read(report)))
      assert.same({}, seen.wrong)
      assert.truthy(seen.done > 100, seen.done)
      -- Each kind of operation went well after the two seconds, or was the last one under way.
      for k, begun in ipairs(seen.fine) do
        assert.truthy(begun > back, ("process %d, operation %d: %.2f s before the end"):format(i, k, stopped - begun))
      end
      assert.equal(5, #seen.fine)
      assert.truthy(seen.longest < 10, ("the longest call took %.2f s"):format(seen.longest))
    end
  end)
end)
