-- One source, two modules: each interpreter loads its own and puts a job on a queue, which a worker on
-- Lua 5.4 runs.

local core = require("naq.core")
local support = require("spec.support")
local nats, start_worker = support.nats, support.start_worker

local PROGRAM = [[
local naq = require("naq")
local client = assert(naq.connect())
local job = assert(client:queue("greetings"):enqueue("greet", { name = _VERSION, numbers = { 1, 2.5 } }))
assert(job:wait(30))
io.write(assert(job:result()))
client:close()
]]

-- A job's state, its place, its end, by its id alone.
local CANCEL = [[
local naq = require("naq")
local client = assert(naq.connect())
local put = assert(client:queue("nobody"):enqueue("greet", { big = 2^53, text = ("x"):rep(1000) }))
local job = assert(client:job(put.id))
assert(job:status() == "pending")
local told = assert(job:explain())
io.write(told.state, " ", told.reasons[1].code, " ")
assert(job:cancel())
assert(job:cancel())
assert(select(3, job:result()) == naq.errors.JOB_CANCELLED)
local list = assert(client:jobs({ queue = "nobody", state = "cancelled", limit = 1 }))
assert(list[1].id == put.id and list[1].args.text == ("x"):rep(1000))
for info, message in client:each_job({ queue = "nobody" }) do
  assert(info, message)
end
assert(job:retry())
io.write(assert(job:status()))
assert(job:cancel())
client:close()
]]

-- Dead letters; with `fail` on a worker.
local LETTERS = [[
local naq = require("naq")
local client = assert(naq.connect())
local job = assert(client:queue("greetings"):enqueue("fail", { id = 2^53, text = "ü" }, { max_retries = 0 }))
assert(job:wait(30) == "failed")
assert(select(3, job:result()) == naq.errors.JOB_FAILED)
local letters = client:failed()
local letter = assert(letters:show(job.id))
assert(letter.reason == "failed" and letter.error.code == "LUCK" and #letter.attempts == 1)
assert(letter.args:find('"text":"ü"', 1, true))
local page = assert(letters:list({ queue = "greetings", job = "fail", since = letter.failed_at, limit = 1 }))
assert(page[1].id == job.id)
assert(letters:retry(job.id))
assert(job:wait(30) == "failed")
letter = assert(letters:show(job.id, "greetings"))
io.write(#letter.attempts, " ", letter.attempts[2].attempt, " ", letters:count("greetings"), " ")
assert(job:retry())
assert(job:wait(30) == "failed")
for found, message in letters:each({ queue = "greetings" }) do
  assert(found, message)
  assert(letters:discard(found.id))
end
io.write(letters:count("greetings"), " ", (select(3, job:retry())), " ", job:status())
client:close()
]]

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

describe("the client module", function()
  local server, worker, folder

  setup(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-lua"))
    local jobs = [[
      local naq = require("naq")
      naq.job("greet", function(args) return "hello, " .. args.name end)
      naq.job("fail", function() return nil, "no luck", "LUCK" end)
    ]]
    worker = start_worker({
      url = server.url,
      queues = { "greetings" },
      jobs = { write(folder .. "/jobs.lua", jobs) },
    })
    write(folder .. "/program.lua", PROGRAM)
  end)

  teardown(function()
    worker:stop()
    server:stop()
    core.rmtree(folder)
  end)

  local function run(interpreter, abi, argument)
    local out = folder .. "/out"
    os.remove(out) -- spawn() appends
    local lua, lib = support.root .. "/lua/?.lua;" .. support.root .. "/lua/?/init.lua;;", support.build
    local pid = assert(core.spawn({ interpreter, argument }, {
      stdout = out,
      stderr = out,
      die_with_parent = true,
      env = {
        LUA_PATH = lua,
        LUA_CPATH = ("%s/lib/%s/?.so;;"):format(lib, abi),
        LUA_PATH_5_4 = false,
        LUA_CPATH_5_4 = false,
        LD_PRELOAD = support.preload,
        NAQ_NATS_URL = server.url,
      },
    }))
    local state, status = core.wait(pid, 60)
    if state == "running" then
      core.kill(-pid, "KILL")
      core.wait(pid, 10)
    end
    return state == "exited" and status or state, read(out)
  end

  for _, one in ipairs({ { "lua5.4", "5.4" }, { "luajit", "5.1" }, { "lua5.1", "5.1" } }) do
    local interpreter, abi = one[1], one[2]
    it("loads in " .. interpreter .. " and enqueues", function()
      local status, out = run(interpreter, abi, folder .. "/program.lua")
      assert.equal("hello, Lua " .. abi, out)
      assert.equal(0, status)
    end)
  end

  for _, one in ipairs({ { "lua5.4", "5.4" }, { "luajit", "5.1" }, { "lua5.1", "5.1" } }) do
    it("in " .. one[1] .. " cancels, lists and explains", function()
      local status, out = run(one[1], one[2], write(folder .. "/cancel.lua", CANCEL))
      assert.equal("pending NO_WORKER pending", out)
      assert.equal(0, status)
    end)
  end

  for _, one in ipairs({ { "lua5.4", "5.4" }, { "luajit", "5.1" }, { "lua5.1", "5.1" } }) do
    it("in " .. one[1] .. " reads dead letters, and runs them again", function()
      local status, out = run(one[1], one[2], write(folder .. "/letters.lua", LETTERS))
      assert.equal("2 1 1 0 JOB_NOT_FOUND failed", out)
      assert.equal(0, status)
    end)
  end

  it("has workers on Lua 5.4 only", function()
    local program = write(
      folder .. "/worker.lua",
      [[local ok, _, code = require("naq").worker({ files = { "x.lua" } })
      io.write(tostring(ok), " ", code)]]
    )
    local status, out = run("luajit", "5.1", program)
    assert.equal("nil UNSUPPORTED", out)
    assert.equal(0, status)
  end)
end)
