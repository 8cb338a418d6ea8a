-- SIGHUP: a worker reads its job files anew and loses no job over it.

local core = require("naq.core")
local support = require("spec.support")
local trail, eventually = support.trail, support.eventually

local FULL = os.getenv("NAQ_TEST_SCALE") == "full"

describe("a worker told to reload", function()
  local at = support.scene()
  local client, queue, side, dir
  before_each(function()
    client, queue, side = at:begin()
    dir = assert(core.mkdtemp("naq-spec-reload"))
  end)
  after_each(function()
    at:finish()
    core.rmtree(dir)
  end)

  local function write(name, text)
    local f = assert(io.open(dir .. "/" .. name, "wb"))
    f:write(text)
    f:close()
  end

  -- Jobs that say which version of their file, and of a module they require, they are of.
  local function write_version(n)
    write("version.lua", ("return { number = %d }\n"):format(n))
    write("jobs.lua", ([[
local naq, core = require("naq"), require("naq.core")
local version = require("version")
naq.job("version", function(args)
  if args and args.seconds then core.sleep(args.seconds) end
  return { %d, version.number }
end)
naq.job("hold", function(args, job)
  local f = assert(io.open(args.trail, "ab"))
  f:write(("%%s %%d %%d %%.6f\n"):format(job.id, job.attempt, core.getpid(), core.now()))
  f:close()
  while not io.open(args.gate) do core.sleep(0.005) end
  return %d
end)
naq.job("spin", { timeout = 0.05, max_retries = 0 }, function() while true do local _ = {} end end)
]]):format(n, n))
  end

  local function start(options)
    options = options or {}
    options.jobs = { dir .. "/jobs.lua" }
    options.env = { LUA_PATH = dir .. "/?.lua;" .. support.lua_path }
    return at:worker(options)
  end

  local function version()
    local job = assert(queue:enqueue("version"))
    assert.equal("completed", job:wait(10))
    return assert(job:result())
  end

  local function reload(worker)
    local _, before = worker:log():gsub("job files reloaded", "")
    worker:signal("HUP")
    eventually(function()
      local _, now = worker:log():gsub("job files reloaded", "")
      return now > before, worker:log()
    end, 10, "it to reload")
  end

  it("runs the new code, also of the modules that its files require", function()
    write_version(1)
    local worker = start()
    assert.same({ 1, 1 }, version())
    write_version(2)
    assert.same({ 1, 1 }, version())
    reload(worker)
    for _ = 1, 8 do
      assert.same({ 2, 2 }, version())
    end
    assert.matches("job files reloaded: ", worker:log(), 1, true)
    assert.matches("spin", worker:log(), 1, true)
  end)

  it("finds new files below a -m directory", function()
    write("first.lua", "return function() return 1 end\n")
    local worker = at:worker({ jobs = {}, dirs = { dir }, threads = 2 })
    local one = assert(queue:enqueue("first"))
    assert.equal("completed", one:wait(10))
    write("second.lua", "return function() return 2 end\n")
    reload(worker)
    local two = assert(queue:enqueue("second"))
    assert.equal("completed", two:wait(10))
    assert.equal(2, two:result())
  end)

  it("keeps the old code when a file is broken, and says where", function()
    write_version(1)
    local worker = start()
    assert.same({ 1, 1 }, version())
    write("jobs.lua", "local naq = require('naq')\nnaq.job('version', function() return = 1 end)\n")
    worker:signal("HUP")
    eventually(function()
      return worker:log():find("not reloaded, the old code stays: job files: .*jobs%.lua:2:")
    end, 10, "it to complain")
    assert.same({ 1, 1 }, version())
    -- A limit costs a state: the next one is made of the old code, too.
    for _ = 1, 6 do
      local spun = assert(queue:enqueue("spin"))
      assert.equal("failed", spun:wait(10))
    end
    for _ = 1, 8 do
      assert.same({ 1, 1 }, version())
    end
    write_version(3)
    reload(worker)
    assert.same({ 3, 3 }, version())
  end)

  it("keeps the old code when a module is broken, a file is gone, or a name is there twice", function()
    write_version(1)
    local worker = start()
    assert.same({ 1, 1 }, version())
    local complaints = 0
    local function refused(pattern)
      worker:signal("HUP")
      complaints = complaints + 1
      eventually(function()
        local _, n = worker:log():gsub("not reloaded, the old code stays", "")
        return n == complaints, worker:log()
      end, 10, "it to complain")
      assert.matches(pattern, worker:log():match("^.*(not reloaded[^\n]*)"))
      assert.same({ 1, 1 }, version())
    end
    write("version.lua", "return {\n")
    refused("version%.lua:2:")
    os.remove(dir .. "/jobs.lua")
    refused("cannot open .*jobs%.lua")
    write("jobs.lua", 'local naq = require("naq")\nnaq.job("a", print)\nnaq.job("a", print)\n')
    refused("jobs%.lua:3: job 'a' is already defined at .*jobs%.lua:2")
  end)

  it("lets what runs end with the old code", function()
    write_version(1)
    local worker = start({ threads = 2 })
    local held = assert(queue:enqueue("hold", side:args()))
    side:reaches(1)
    write_version(2)
    reload(worker)
    assert.same({ 2, 2 }, version())
    side:open()
    assert.equal("completed", held:wait(10))
    assert.equal(1, held:result())
    assert.equal(1, #side:runs()[held.id])
  end)

  it("loses none of thousands of jobs and runs none twice", function()
    local count, times = FULL and 20000 or 4000, FULL and 40 or 8
    write_version(1)
    local worker = start({ threads = 4 })
    eventually(function() return worker:log():find("ready, threads") end, 20, "it to have read them")
    local entries = {}
    for i = 1, count do
      entries[i] = { "version", { seconds = i % 10 == 0 and 0.001 or nil } }
    end
    local jobs = assert(queue:enqueue_many(entries))
    for n = 2, times + 1 do
      write_version(n)
      reload(worker)
    end
    local ids = {}
    for i, job in ipairs(jobs) do
      ids[i] = job.id
    end
    local versions = {}
    for _, record in pairs(trail.all_ended(client, ids, 60)) do
      assert.equal("completed", record.state)
      assert.equal(record.result[1], record.result[2]) -- no mixture of two versions
      versions[record.result[1]] = true
    end
    assert.same({ times + 1, times + 1 }, version())
    worker:term()
    worker:ends(0, 10)
    assert.is_true(next(versions) ~= nil)
  end)

  it("is not held up by a file that takes for ever", function()
    write_version(1)
    local worker = start()
    assert.same({ 1, 1 }, version())
    write("jobs.lua", 'require("naq.core").sleep(3600)\n')
    worker:signal("HUP")
    for _ = 1, 20 do
      assert.same({ 1, 1 }, version())
    end
    worker:term()
    worker:ends(0, 10)
  end)
end)
