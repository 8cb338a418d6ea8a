-- The naq command by itself: help, wrong usage, exit codes, where it finds its files, output that
-- goes nowhere, and what it says when there is no server.

local core = require("naq.core")
local support = require("spec.support")
local naq = support.naq
local unpack = table.unpack or unpack -- luacheck: ignore

local COMMANDS = {
  "worker", "enqueue", "job list", "job show", "job result", "job explain", "job cancel", "job retry", "failed list",
  "failed show", "failed retry", "failed discard", "queue list", "queue stats", "queue purge", "workers",
  "scheduler", "server", "run", "doctor", "connections scan", "purge", "list-workers",
  "schedule list", "schedule add", "schedule show", "schedule modify", "schedule pause", "schedule resume",
  "schedule cancel", "schedule run", "schedule next", "list-scheduled", "job-control",
}

local function words(text)
  local list = {}
  for word in text:gmatch("%S+") do
    list[#list + 1] = word
  end
  return list
end

-- A shell command line, for pipes and links. Returns its exit code and what it wrote to stderr.
local function shell(command)
  local dir = assert(core.mkdtemp("naq-spec-sh"))
  local pid = assert(core.spawn({ "bash", "-c", command }, {
    stdout = dir .. "/out", stderr = dir .. "/err", die_with_parent = true,
  }))
  local state, status = core.wait(pid, 30)
  local function read(name)
    local file = io.open(dir .. "/" .. name)
    local text = file and file:read("*a") or ""
    if file then file:close() end
    return text
  end
  local out, errors = read("out"), read("err")
  core.rmtree(dir)
  assert.equal("exited", state)
  return status, out, errors
end

local bin = support.root .. "/bin/naq"

describe("naq", function()
  it("prints its version", function()
    local status, out = naq("--version")
    assert.equal(0, status)
    assert.equal("naq " .. core.VERSION .. "\n", out)
    status, out = naq("--json", "--version")
    assert.equal(0, status)
    assert.same({ version = core.VERSION }, core.decode(out))
  end)

  it("lists every command in its help, and none that is not there", function()
    local status, out, errors = naq("--help")
    assert.equal(0, status)
    assert.equal("", errors)
    for _, name in ipairs(COMMANDS) do
      assert.truthy(out:find(words(name)[1], 1, true), name)
    end
    for _, later in ipairs({ "dashboard", "events" }) do
      assert.falsy(out:find(later, 1, true), later)
    end
  end)

  it("explains each command with a description, its options and an example", function()
    for _, name in ipairs(COMMANDS) do
      local list = words(name)
      list[#list + 1] = "--help"
      local status, out = naq(unpack(list))
      assert.equal(0, status, name)
      assert.truthy(out:find("Usage: naq " .. name, 1, true), name)
      assert.truthy(out:find("Example:", 1, true), name)
      for _, option in ipairs({ "--nats-url", "--log-level", "--json" }) do
        assert.truthy(out:find(option, 1, true), name .. " " .. option)
      end
    end
    local _, direct = naq("job", "show", "--help")
    local _, asked = naq("help", "job", "show")
    assert.equal(direct, asked)
  end)

  it("answers wrong usage with one sentence and exit code 2", function()
    local wrong = {
      { "which command" },
      { "unknown command 'wrker'; did you mean 'worker'", "wrker" },
      { "unknown command 'naq queue stat'; did you mean 'stats'", "queue", "stat" },
      { "show, result", "job" },
      { "missing argument 'id'", "job", "show" },
      { "unknown option '--brst'; did you mean '--burst'", "worker", "--jobs", "x.lua", "--brst" },
      { "--jobs FILE", "worker" },
      { "not a whole number above 0", "worker", "--jobs", "x.lua", "-c", "0" },
      { "not a number of seconds", "enqueue", "x", "--wait", "soon" },
      { "--args is not JSON", "enqueue", "x", "--args", "{" },
      { "--opts is not a JSON object", "enqueue", "x", "--opts", "3" },
      { "not a port", "server", "-p", "70000" },
      { "not a log level", "workers", "-l", "loud" },
      { "not a job's id", "job", "show", "a.b" },
      { "'a.b'", "worker", "a.b", "--jobs", "/dev/null" },
      { "'a b'", "worker", "-n", "a b", "--jobs", "/dev/null" },
      { "servers", "workers", "-u", "" },
    }
    for _, case in ipairs(wrong) do
      local expected = table.remove(case, 1)
      local status, out, errors = naq(unpack(case))
      assert.equal(2, status, expected)
      assert.equal("", out)
      assert.truthy(errors:find(expected, 1, true), errors)
      assert.falsy(errors:find("traceback"), errors)
    end
  end)

  it("writes errors as JSON with --json, wherever it stands", function()
    local places = { { "--json", "job", "show" }, { "job", "--json", "show" }, { "job", "show", "--json" } }
    for _, args in ipairs(places) do
      local status, out, errors = naq(unpack(args))
      assert.equal(2, status)
      assert.equal("", out)
      local decoded = assert(core.decode(errors))
      assert.equal("INVALID", decoded.error.code)
      assert.equal("missing argument 'id'", decoded.error.message)
    end
  end)
end)

describe("bin/naq", function()
  it("finds its tree from another directory and through a symbolic link", function()
    local dir = assert(core.mkdtemp("naq-spec-link"))
    local clean = "cd / && env -u LUA_PATH -u LUA_CPATH -u LUA_PATH_5_4 -u LUA_CPATH_5_4 "
      .. ("NAQ_BUILD='%s' "):format(support.build)
    local status, out = shell(clean .. bin .. " --version")
    assert.equal(0, status)
    assert.equal("naq " .. core.VERSION .. "\n", out)
    status, out = shell(("ln -s '%s' '%s/tool' && %s '%s/tool' --version"):format(bin, dir, clean, dir))
    core.rmtree(dir)
    assert.equal(0, status)
    assert.equal("naq " .. core.VERSION .. "\n", out)
  end)

  it("says so when its output cannot be written, and nothing when its reader has gone", function()
    local status, _, errors = shell(bin .. " --help >/dev/full")
    assert.equal(1, status)
    assert.truthy(errors:find("No space left", 1, true), errors)
    -- The reader ends before naq starts to write.
    status, _, errors = shell(("{ sleep 0.2; trap '' PIPE; %s --help; echo $? >&2; } | true"):format(bin))
    assert.equal(0, status)
    assert.equal("141\n", errors)
  end)
end)

describe("a command without a server", function()
  local url

  setup(function() url = ("nats://127.0.0.1:%d"):format(assert(core.free_port())) end)

  local cases = {
    { "worker", "--jobs", "/dev/null" },
    { "enqueue", "x" },
    { "job", "show", "x" },
    { "job", "result", "x", "--wait", "5" },
    { "queue", "list" },
    { "queue", "stats", "x" },
    { "queue", "purge", "x" },
    { "workers" },
    { "doctor" },
  }

  it("says so in one line with the URL and names `naq server`, exit code 3", function()
    for _, case in ipairs(cases) do
      local status, out, errors = naq("-u", url, unpack(case))
      assert.equal(3, status, case[1] .. ": " .. errors)
      assert.equal("", out)
      assert.truthy(errors:find(url, 1, true), errors)
      assert.truthy(errors:find("naq server", 1, true), errors)
      assert.equal(1, select(2, errors:gsub("\n", "")), errors)
    end
  end)

  it("never shows the secrets of the URL", function()
    local secret = url:gsub("//", "//ada:s3cr,et@")
    for _, json in ipairs({ "--json", "-linfo" }) do
      local status, _, errors = naq("workers", "-u", secret, json)
      assert.equal(3, status)
      assert.falsy(errors:find("s3cr", 1, true), errors)
      assert.falsy(errors:find("et@", 1, true), errors)
    end
  end)

  it("gives the code with --json", function()
    local status, _, errors = naq("workers", "-u", url, "--json")
    assert.equal(3, status)
    assert.equal("CONNECTION", assert(core.decode(errors)).error.code)
  end)

  it("takes the URL from NAQ_NATS_URL", function()
    local status, _, errors = naq("workers", { env = { NAQ_NATS_URL = url } })
    assert.equal(3, status)
    assert.truthy(errors:find(url, 1, true), errors)
  end)
end)

describe("a command whose server", function()
  it("refuses the credentials ends with exit code 3", function()
    local server = support.nats.start({ config = { "authorization { user: ada, password: right }" } })
    local status, _, errors = naq("workers", "--json", "-u", (server.url:gsub("//", "//ada:wr0ng@")))
    server:stop()
    assert.equal(3, status)
    assert.equal("AUTH", assert(core.decode(errors)).error.code)
    assert.falsy(errors:find("wr0ng", 1, true), errors)
  end)

  it("does not answer ends with exit code 3", function()
    local server = support.nats.start()
    server:freeze()
    local env = { NAQ_NATS_CONNECTION_TIMEOUT = "1" }
    local status, _, errors = naq("workers", "-u", server.url, { env = env })
    server:thaw()
    server:stop()
    assert.equal(3, status, errors)
    assert.truthy(errors:find(server.url, 1, true), errors)
  end)
end)
