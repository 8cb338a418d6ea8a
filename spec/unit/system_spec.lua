local support = require("spec.support")
local core = require("naq.core")

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

-- A sanitizer's library is for our own processes: sh dies of it now and then.
local PLAIN = { LD_PRELOAD = false }

describe("core ids", function()
  it("are valid, 26 characters long and sort by time", function()
    local a, b = core.new_id(), nil
    support.eventually(function()
      b = core.new_id()
      return b:sub(1, 10) > a:sub(1, 10)
    end, 1, "the next millisecond")
    assert.equal(26, #a)
    assert.is_true(core.valid_id(a))
    assert.is_true(a < b)
  end)

  it("are 1 to 64 of letters, digits, _ and -", function()
    assert.is_true(core.valid_id("a"))
    assert.is_true(core.valid_id(("A-_9"):rep(16)))
    for _, bad in ipairs({ "", ("x"):rep(65), "a.b", "a b", "*", ">", "ä", "a\0b" }) do
      assert.is_false(core.valid_id(bad))
    end
    assert.is_false(core.valid_id(12))
    assert.is_false(core.valid_id(nil))
  end)
end)

describe("core clocks", function()
  it("tell the time of day and a steady one", function()
    assert.is_true(math.abs(core.now() - os.time()) < 2)
    local a = core.mono()
    core.sleep(0.01)
    assert.is_true(core.mono() - a >= 0.01)
  end)
end)

describe("core machine facts", function()
  it("name host, process and processors", function()
    assert.is_true(#core.hostname() > 0)
    assert.is_true(core.getpid() > 1)
    assert.is_true(core.cpu_count() >= 1)
    assert.is_false(core.isatty(999))
  end)

  it("include environment variables that can be set and removed", function()
    core.setenv("NAQ_SPEC_VARIABLE", "x=y")
    assert.equal("x=y", os.getenv("NAQ_SPEC_VARIABLE"))
    core.setenv("NAQ_SPEC_VARIABLE", nil)
    assert.is_nil(os.getenv("NAQ_SPEC_VARIABLE"))
    assert.has_error(function() core.setenv("A=B", "c") end)
  end)
end)

describe("core.codes", function()
  it("lists every code once", function()
    local seen = {}
    for _, code in ipairs(core.codes) do
      assert.is_nil(seen[code])
      seen[code] = true
    end
    assert.is_true(seen.CONNECTION and seen.TIMEOUT and seen.UNDECODABLE)
  end)
end)

describe("core.spawn()", function()
  local dir
  before_each(function() dir = assert(core.mkdtemp("naq-spec")) end)
  after_each(function() assert(core.rmtree(dir)) end)

  local function run(script, options)
    options = options or {}
    options.stdout = dir .. "/out"
    options.env = options.env or {}
    options.env.LD_PRELOAD = false
    local pid = assert(core.spawn({ "sh", "-c", script }, options))
    local state, status = core.wait(pid, 10)
    return read(dir .. "/out"), state, status
  end

  it("runs a program with its output in a file and tells its status", function()
    local out, state, status = run("echo hello; exit 3")
    assert.equal("hello\n", out)
    assert.equal("exited", state)
    assert.equal(3, status)
  end)

  it("adds, replaces and removes variables", function()
    core.setenv("NAQ_SPEC_GONE", "here")
    local out = run(
      'echo "$NAQ_SPEC_NEW/${NAQ_SPEC_GONE-removed}"',
      { env = { NAQ_SPEC_NEW = "new", NAQ_SPEC_GONE = false } }
    )
    core.setenv("NAQ_SPEC_GONE", nil)
    assert.equal("new/removed\n", out)
  end)

  it("changes directory and puts the child in a group of its own", function()
    -- A signal to the group is delivered only where there is one of the process's own number.
    local out = run("pwd; kill -0 -$$ && echo group", { cwd = dir })
    assert.equal(dir .. "\ngroup\n", out)
  end)

  it("says why a program cannot start", function()
    local pid, message, code = core.spawn({ "naq-no-such-program" })
    assert.is_nil(pid)
    assert.equal("naq-no-such-program: not found in PATH", message)
    assert.equal("INVALID", code)
    pid, message = core.spawn({ "/bin/true" }, { cwd = dir .. "/none" })
    assert.is_nil(pid)
    assert.equal("/bin/true: working directory: No such file or directory", message)
    pid, message = core.spawn({ dir .. "/none" })
    assert.is_nil(pid)
    assert.equal(dir .. "/none: exec: No such file or directory", message)
  end)

  it("raises on misuse", function()
    assert.has_error(function() core.spawn("ls") end)
    assert.has_error(function() core.spawn({}) end)
    assert.has_error(function() core.spawn({ "ls", {} }) end)
    assert.has_error(function() core.spawn({ "ls" }, { env = { A = 1 } }) end)
  end)

  it("takes the child along when this process is killed", function()
    -- A child that starts a grandchild and is killed; the grandchild tells its pid first.
    local script = ([[
      package.cpath = %q
      local core = require("naq.core")
      local pid = core.spawn({ "sleep", "1000" }, { die_with_parent = true, env = { LD_PRELOAD = false } })
      io.stdout:write(pid, "\n")
      io.stdout:flush()
      core.sleep(1000)
    ]]):format(package.cpath)
    local interpreter = arg and arg[-1] or "lua5.4"
    local i = -1
    while arg and arg[i] do
      interpreter = arg[i]
      i = i - 1
    end
    local pid = assert(core.spawn({ interpreter, "-e", script }, { stdout = dir .. "/out" }))
    local grandchild = tonumber(support.eventually(
      function() return read(dir .. "/out"):match("(%d+)\n") end,
      10,
      "the pid of the grandchild"
    ))
    assert(core.kill(pid, "KILL"))
    assert.same({ "signaled", 9 }, { core.wait(pid, 10) })
    support.eventually(function()
      local f = io.open("/proc/" .. grandchild .. "/stat")
      if not f then return true end
      local state = f:read("*a"):match("%) (%a)")
      f:close()
      return state == "Z" or state == "X"
    end, 10, "the end of the grandchild")
  end)
end)

describe("core.wait()", function()
  it("answers running when the time is over, and how a signal ended the child", function()
    local pid = assert(core.spawn({ "sleep", "1000" }, { env = PLAIN }))
    assert.equal("running", (core.wait(pid, 0.01)))
    assert(core.kill(pid, "TERM"))
    assert.same({ "signaled", 15 }, { core.wait(pid, 10) })
  end)

  it("refuses what is no child", function()
    local state, message, code = core.wait(1, 0)
    assert.is_nil(state)
    assert.equal("process 1: not a child of this process", message)
    assert.equal("INVALID", code)
  end)
end)

describe("core.kill()", function()
  it("raises on an unknown signal and refuses groups nobody meant", function()
    assert.has_error(function() core.kill(core.getpid(), "NOPE") end)
    assert.has_error(function() core.kill(-1, "TERM") end)
    assert.has_error(function() core.kill(0, "TERM") end)
  end)
end)

describe("core.wait_signal()", function()
  it("gives nil when the time is over", function() assert.is_nil(core.wait_signal(0.01)) end)

  it("names a signal that came before or during the wait", function()
    core.wait_signal(0) -- armed from here on
    assert(core.kill(core.getpid(), "TERM"))
    assert.equal("TERM", core.wait_signal(5))
    core.wait_signal(0)
    assert(core.spawn({ "sh", "-c", "kill -INT " .. core.getpid() }, { env = PLAIN }))
    assert.equal("INT", core.wait_signal(5))
  end)
end)

describe("core.free_port()", function()
  it("finds one below the ephemeral range, where nobody listens", function()
    local port = assert(core.free_port())
    assert.is_true(port >= 20000 and port < 32768)
    assert.is_false(core.port_open(port))
  end)

  it("refuses ranges that outgoing connections use", function()
    assert.has_error(function() core.free_port(40000, 50000) end)
  end)
end)

describe("core.rmtree()", function()
  it("removes a tree without following links", function()
    local outside = assert(core.mkdtemp("naq-spec"))
    local dir = assert(core.mkdtemp("naq-spec"))
    assert(io.open(outside .. "/kept", "w")):close()
    local pid = assert(core.spawn({
      "sh",
      "-c",
      "mkdir -p a/b/c && touch a/x a/b/y && ln -s " .. outside .. " a/link",
    }, { cwd = dir, env = PLAIN }))
    assert.same({ "exited", 0 }, { core.wait(pid, 10) })
    assert(core.rmtree(dir))
    assert.is_nil(io.open(dir .. "/a/x"))
    assert(io.open(outside .. "/kept")):close()
    assert(core.rmtree(outside))
    assert.is_true(core.rmtree(outside)) -- gone already
  end)

  it("refuses what is not below the temporary folder", function()
    local tmp = os.getenv("TMPDIR") or "/tmp"
    for _, path in ipairs({ "/", tmp, tmp .. "/", tmp .. "/../etc", "/etc", "tmp/x", "", tmp .. "x" }) do
      local ok, message, code = core.rmtree(path)
      assert.is_nil(ok, path)
      assert.equal("INVALID", code)
      assert.is_truthy(message:find(path, 1, true))
    end
  end)
end)

describe("core.configure_log()", function()
  after_each(function() core.configure_log({ level = "warning" }) end)

  it("writes lines of the level and above to a file, as text or JSON", function()
    local dir = assert(core.mkdtemp("naq-spec"))
    assert(core.configure_log({ level = "info", file = dir .. "/log" }))
    core.log("debug", "unseen")
    core.log("info", "seen")
    assert(core.configure_log({ level = "error", format = "json", file = dir .. "/log" }))
    core.log("warning", "unseen")
    core.log("error", 'quoted "text"')
    local text = read(dir .. "/log")
    assert.is_nil(text:find("unseen", 1, true))
    assert.is_truthy(text:match("^%d+%-%d+%-%d+T%S+Z info    seen\n"))
    assert.is_truthy(text:find('"level":"error","message":"quoted \\"text\\""}\n', 1, true))
    core.rmtree(dir)
  end)

  it("refuses an unknown level or format", function()
    assert.same(
      { nil, "log level loud: not one of debug, info, warning, error, critical", "CONFIGURATION" },
      { core.configure_log({ level = "loud" }) }
    )
    assert.same(
      { nil, "log format xml: not one of text, json", "CONFIGURATION" },
      { core.configure_log({ format = "xml" }) }
    )
  end)
end)
