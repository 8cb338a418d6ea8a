-- A server killed and started again under load: processes, and threads of one process, that publish, ask,
-- enqueue and keep values go on by themselves. Every call returns what it should, or a code; and soon after
-- the server is back, all of them work again.

local core = require("naq.core")
local support = require("spec.support")
local eventually, nats, process = support.eventually, support.nats, support.process

local PROCESSES, THREADS = 4, 16

-- Loops over its operations until told to stop, then writes what it saw as one JSON object.
local PROGRAM = [[
local naq, core = require("naq"), require("naq.core")
local folder, name = ...
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

assert(io.open(folder .. "/" .. name .. ".begun", "w")):close()

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

-- Kills and restarts the server three times, stops the load two seconds later and reads what was seen.
local function restart_under(server, folder, names, log_of)
  local conn = server:connect()
  for _, name in ipairs(names) do
    eventually(function() return read(("%s/%s.begun"):format(folder, name)), log_of(name) end, 20, name .. " to begin")
  end
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
  for _, name in ipairs(names) do
    local report = ("%s/%s.json"):format(folder, name)
    eventually(function() return read(report), log_of(name) end, 5, "the report of " .. name)
    local seen = assert(core.decode(read(report)))
    assert.same({}, seen.wrong)
    assert.truthy(seen.done > 50, seen.done)
    -- Each kind of operation went well after the two seconds, or was the last one under way.
    for k, begun in ipairs(seen.fine) do
      assert.truthy(begun > back, ("%s, operation %d: %.2f s before the end"):format(name, k, stopped - begun))
    end
    assert.equal(5, #seen.fine)
    assert.truthy(seen.longest < 10, ("the longest call took %.2f s"):format(seen.longest))
  end
end

describe("a server that is restarted under load", function()
  local server, folder

  before_each(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-load"))
    write(folder .. "/program.lua", PROGRAM)
  end)

  after_each(function()
    server:stop()
    core.rmtree(folder)
  end)

  it("is used again within two seconds by all processes, and none saw more than a code", function()
    local running, names = {}, {}
    for i = 1, PROCESSES do
      names[i] = "p" .. i
      local args = { "run", folder .. "/program.lua", folder, names[i] }
      running[names[i]] = process.start(args, { env = { NAQ_NATS_URL = server.url } })
    end
    restart_under(server, folder, names, function(name) return running[name]:log() end)
    for _, one in pairs(running) do
      one:stop()
    end
  end)

  -- Jobs of one worker: each runs on a thread of its own, with a Lua state of its own.
  it("is used again within two seconds by all threads of a process", function()
    write(folder .. "/jobs.lua", ([[
      local program = assert(loadfile(%q))
      require("naq").job("load", function(args) program(args.folder, args.name) end)]]):format(
      folder .. "/program.lua"
    ))
    local worker = support.start_worker({
      url = server.url,
      queues = { "threads" },
      jobs = { folder .. "/jobs.lua" },
      threads = THREADS,
      env = { NAQ_NATS_URL = server.url },
    })
    local client, names = server:client(), {}
    for i = 1, THREADS do
      names[i] = "t" .. i
      assert(client:enqueue("load", { folder = folder, name = names[i] }, { queue = "threads" }))
    end
    client:close()
    restart_under(server, folder, names, function() return worker:log() end)
    worker:stop()
  end)
end)
