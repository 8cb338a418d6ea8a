-- `naq server`, and --with-server of the commands that take it.

local core = require("naq.core")
local support = require("spec.support")
local naq, eventually = support.naq, support.eventually
local start = support.process.start

local function port_of(url) return tonumber(url:match(":(%d+)$")) end

describe("naq server", function()
  local dir, port, server

  before_each(function()
    dir = assert(core.mkdtemp("naq-spec-server"))
    port = assert(core.free_port())
    server = nil
  end)

  after_each(function()
    if server then server:stop() end
    core.rmtree(dir)
  end)

  local function launch(...)
    local process = start({ "server", "-p", port, "--store", dir .. "/store", ... })
    eventually(function() return process:stdout():find("\n") end, 15, "the server's line")
    return process
  end

  it("prints one line with the URL once it accepts, and JetStream answers", function()
    server = launch()
    local out = server:stdout()
    assert.truthy(out:find("nats://127.0.0.1:" .. port, 1, true), out)
    assert.equal(1, select(2, out:gsub("\n", "")))
    assert.is_true(core.port_open(port))
    local status, report = naq("doctor", "--json", "-u", "nats://127.0.0.1:" .. port)
    assert.equal(0, status, report)
  end)

  it("prints an object with --json", function()
    server = launch("--json")
    local line = assert(core.decode(server:stdout()))
    assert.equal("nats://127.0.0.1:" .. port, line.url)
    assert.equal(dir .. "/store", line.store)
    assert.is_true(core.kill(line.pid, 0))
  end)

  it("stops with its nats-server on SIGTERM and on SIGINT, exit code 0", function()
    for _, signal in ipairs({ "TERM", "INT" }) do
      server = launch("--json")
      local pid = core.decode(server:stdout()).pid
      assert(core.kill(server.pid, signal))
      server:ends(0, 20)
      assert.is_nil((core.kill(pid, 0)))
      server:stop()
    end
  end)

  it("takes its nats-server along when it is killed", function()
    server = launch()
    server:kill()
    eventually(function() return not core.port_open(port) end, 15, "the port to close")
  end)

  it("keeps jobs over a restart", function()
    server = launch()
    local url = "nats://127.0.0.1:" .. port
    local status, id = naq("enqueue", "later", "-u", url)
    assert.equal(0, status)
    server:term()
    server:wait(20)
    server:stop()
    server = launch()
    local found, shown = naq("job", "show", id:match("%S+"), "--json", "-u", url)
    assert.equal(0, found, shown)
    assert.equal("pending", core.decode(shown).state)
  end)

  it("refuses a port that is taken and a store that is in use", function()
    server = launch()
    local status, out, errors = naq("server", "-p", port, "--store", dir .. "/other")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(errors:find(("port %d is taken"):format(port), 1, true), errors)
    status, out, errors = naq("server", "-p", assert(core.free_port()), "--store", dir .. "/store")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(errors:find("is in use by a running server", 1, true), errors)
  end)

  it("says what to install where there is no nats-server", function()
    local status, _, errors = naq("server", "--store", dir, { env = { NATS_SERVER = dir .. "/none" } })
    assert.equal(1, status)
    assert.truthy(errors:find("NATS_SERVER names", 1, true), errors)
  end)

  it("reports nats-server's own reason for not starting", function()
    local env = { NATS_SERVER = "/bin/false" }
    local status, _, errors = naq("server", "-p", port, "--store", dir, { env = env })
    assert.equal(1, status)
    assert.truthy(errors:find("nats-server did not start", 1, true), errors)
  end)
end)

describe("--with-server", function()
  local dir, file, env

  before_each(function()
    dir = assert(core.mkdtemp("naq-spec-with"))
    file, env = dir .. "/program.lua", { TMPDIR = dir }
  end)

  after_each(function() core.rmtree(dir) end)

  local function program(text)
    local out = assert(io.open(file, "w"))
    out:write(text)
    out:close()
  end

  -- The temporary stores that are still there.
  local function stores()
    local pipe = io.popen(("ls -d '%s'/naq-server* 2>/dev/null"):format(dir))
    local list = pipe:read("*a")
    pipe:close()
    return list
  end

  it("gives `run` a server that is gone with it, also when the program fails", function()
    program('print(os.getenv("NAQ_NATS_URL")); if arg[1] then error("boom") end')
    for _, case in ipairs({ { 0 }, { 1, "fail" } }) do
      local status, out, errors = naq("run", "--with-server", file, case[2], { env = env })
      assert.equal(case[1], status, errors)
      local url = out:match("%S+")
      assert.truthy(url, errors)
      assert.is_false(core.port_open(port_of(url)))
      assert.equal("", stores())
    end
  end)

  it("leaves nothing behind when the command is killed or interrupted", function()
    program([[
      print(os.getenv("NAQ_NATS_URL"))
      io.stdout:flush()
      require("naq.core").sleep(60)
    ]])
    for _, signal in ipairs({ "KILL", "INT" }) do
      local process = start({ "run", "--with-server", file }, { env = env })
      eventually(function() return process:stdout():find("\n") end, 15, "the program to start")
      local port = port_of(process:stdout():match("%S+"))
      assert.is_true(core.port_open(port))
      assert(core.kill(process.pid, signal))
      process:wait()
      eventually(function() return not core.port_open(port) end, 15, "the server to stop")
      eventually(function() return stores() == "" end, 15, "the store to be removed")
      process:stop()
    end
  end)

  it("takes the address of --nats-url when nothing listens there", function()
    program('print(os.getenv("NAQ_NATS_URL"))')
    local url = "nats://127.0.0.1:" .. assert(core.free_port())
    local status, out, errors = naq("run", "--with-server", "-u", url, file, { env = env })
    assert.equal(0, status, errors)
    assert.equal(url .. "\n", out)
    status = naq("run", "--with-server", "-u", "nats://example.org", file, { env = env })
    assert.equal(2, status)
  end)

  it("runs a worker on a server of its own", function()
    program('require("naq").job("noop", function() end)')
    local status, _, errors = naq("worker", "--with-server", "--burst", "--jobs", file, { env = env })
    assert.equal(0, status, errors)
    assert.equal("", stores())
  end)
end)

describe("naq run", function()
  local dir, file

  setup(function()
    dir = assert(core.mkdtemp("naq-spec-prog"))
    file = dir .. "/program.lua"
    local out = assert(io.open(file, "w"))
    out:write([[
      local naq = require("naq")
      print(naq.VERSION, arg[0], #arg, table.concat(arg, " "), ...)
      if arg[1] == "fail" then error("boom") end
      if arg[1] == "leave" then os.exit(7) end
    ]])
    out:close()
  end)

  teardown(function() core.rmtree(dir) end)

  it("gives the program naq, its name and its arguments, options included", function()
    local status, out, errors = naq("run", file, "--json", "-u", "x")
    assert.equal(0, status, errors)
    local seen = { core.VERSION, file, 3, "--json -u x", "--json", "-u", "x" }
    assert.equal(table.concat(seen, "\t") .. "\n", out)
  end)

  it("exits as the program does", function()
    assert.equal(7, (naq("run", file, "leave")))
    local status, out, errors = naq("run", file, "fail")
    assert.equal(core.VERSION, out:match("%S+"))
    assert.equal(1, status)
    assert.truthy(errors:find("program.lua:3: boom", 1, true), errors)
    assert.falsy(errors:find("cli/run.lua", 1, true), errors)
    status, out, errors = naq("run", dir .. "/none.lua")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(errors:find("none.lua", 1, true), errors)
  end)
end)
