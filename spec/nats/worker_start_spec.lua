-- What `naq worker` says before it serves anything: broken job files, names that are there twice, queues
-- that may be misspelt.

local core = require("naq.core")
local support = require("spec.support")
local nats, eventually = support.nats, support.eventually

describe("naq worker at its start", function()
  local server, client, dir
  setup(function()
    server = nats.start()
    client = server:client()
  end)
  teardown(function()
    client:close()
    server:stop()
  end)
  before_each(function() dir = assert(core.mkdtemp("naq-spec-start")) end)
  after_each(function() core.rmtree(dir) end)

  local function write(name, text)
    local f = assert(io.open(dir .. "/" .. name, "wb"))
    f:write(text)
    f:close()
    return dir .. "/" .. name
  end

  --- Start one that must not serve: its complaint.
  local function refused(...)
    local status, out, err = support.naq("worker", "-u", server.url, ...)
    assert.equal(1, status, err)
    assert.equal("", out)
    assert.same({}, assert(client:workers()))
    return err
  end

  local GOOD = 'local naq = require("naq")\nnaq.job("one", function() end)\n'

  it("names the file and the line of what is no Lua", function()
    local err = refused("--jobs", write("broken.lua", GOOD .. "return = 1\n"))
    assert.matches("broken.lua:3: unexpected symbol", err, 1, true)
    assert.equal(1, select(2, err:gsub("\n", "")))
  end)

  it("names the file and the line of what fails while it is loaded", function()
    assert.matches("raises.lua:2: not today", refused("--jobs", write("raises.lua", "\nerror('not today')\n")), 1, true)
    local err = refused("--jobs", write("options.lua", GOOD .. 'naq.job("two", { max_retires = 1 }, print)\n'))
    assert.matches("options.lua:3: ", err, 1, true)
    assert.matches("max_retries", err, 1, true)
  end)

  it("names the file and the line of a module that is broken", function()
    write("helper.lua", "local x = \n\n}\n")
    write("uses.lua", "local helper = require('helper')\nreturn function() return helper end\n")
    assert.matches("helper.lua:3: ", refused("-m", dir), 1, true)
  end)

  it("names the file that is not there, and the one that defines nothing", function()
    assert.matches("nowhere.lua: No such file", refused("--jobs", dir .. "/nowhere.lua"), 1, true)
    assert.matches("empty.lua: defines no job", refused("--jobs", write("empty.lua", "")), 1, true)
    write("module.lua", "return {}\n") -- below a directory that is fine, beside a job
    assert.matches(dir .. ": no file below it returns a function", refused("-m", dir), 1, true)
  end)

  it("names both places of a name that is there twice", function()
    local one, two = write("one.lua", GOOD), write("two.lua", "\n" .. GOOD)
    local err = refused("--jobs", one, two)
    assert.matches(two .. ":3: job 'one' is already defined at " .. one .. ":2", err, 1, true)
    err = refused("--jobs", write("same.lua", GOOD .. GOOD:match("\n(.*)")))
    assert.matches("same.lua:3: job 'one' is already defined at " .. dir .. "/same.lua:2", err, 1, true)
    err = refused("--jobs", write("loop.lua", 'for _ = 1, 2 do require("naq").job("x", print) end'))
    assert.matches("loop.lua:1: job 'x' is already defined", err, 1, true)
  end)

  it("loads a file that is named twice once", function()
    local one = write("one.lua", GOOD)
    local status, _, err = support.naq("worker", "-u", server.url, "--jobs", one, one, "--burst")
    assert.equal(0, status, err)
  end)

  it("refuses a name that is none for a queue", function()
    local status, _, err = support.naq("worker", "-u", server.url, "no.dots", "--jobs", write("one.lua", GOOD))
    assert.equal(2, status)
    assert.matches("no.dots", err, 1, true)
  end)

  it("says which queue is not in a configuration that names its queues, and serves it", function()
    local config = write("naq.yaml", "queues:\n  configs:\n    mail: {ack_wait: 20}\n    images:\n      ack_wait: 60\n")
    local worker = support.start_worker({
      url = server.url, queues = { "mial", "images", "default" }, jobs = { write("one.lua", GOOD) },
      args = { "--config", config },
    })
    eventually(function() return worker:log():find("ready", 1, true) end, 5, "it to be ready")
    local told = "queue 'mial' is not among those of the configuration (did you mean 'mail', file %s:3?)"
    assert.matches(told:format(config), worker:log(), 1, true)
    assert.not_matches("'images' is not", worker:log(), 1, true)
    assert.not_matches("'default' is not", worker:log(), 1, true)
    local job = assert(client:queue("mial"):enqueue("one"))
    assert.equal("completed", job:wait(10))
    worker:term()
    worker:wait()
  end)

  it("shows itself as starting while it loads its files", function()
    local gate = dir .. "/gate"
    local slow = write("slow.lua", GOOD .. ([[
      local core = require("naq.core")
      while not io.open(%q) do core.sleep(0.01) end
    ]]):format(gate))
    local worker = support.start_worker({ url = server.url, queues = { "slow" }, jobs = { slow }, threads = 3 })
    local function state()
      for _, record in ipairs(assert(client:workers())) do
        if record.queues[1] == "slow" then return record.state, record end
      end
    end
    local _, record = eventually(function()
      local now, all = state()
      return now == "starting", all
    end, 5, "it to start")
    assert.equal(3, record.threads)
    assert.same({ "slow" }, record.queues)
    write("gate", "")
    eventually(function() return state() == "idle" end, 5, "it to be idle")
    worker:stop()
  end)
end)
