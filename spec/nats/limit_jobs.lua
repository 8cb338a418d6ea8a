-- Jobs that do not end, or take too much, each in its own way, for limits_spec.lua.
--
-- ThreadSanitizer delivers a signal when the thread calls into libc, so that under it a loop must
-- allocate; elsewhere breathe() is next to nothing.
local core = require("naq.core")
local naq = require("naq")

local sanitized = (os.getenv("NAQ_SPEC_PRELOAD") or ""):find("tsan", 1, true)
local breathe = sanitized and function() return {} end or function() end

local function spin()
  while true do breathe() end
end

local LOOPS = {}

if not sanitized then
  function LOOPS.bare()
    while true do end
  end
end

function LOOPS.call() spin() end

function LOOPS.pcall()
  while true do pcall(spin) end
end

function LOOPS.pcall_pcall()
  local function f() while true do pcall(pcall, f); breathe() end end
  f()
end

function LOOPS.coroutine() coroutine.wrap(spin)() end

function LOOPS.nested()
  coroutine.wrap(function()
    coroutine.wrap(function()
      while true do pcall(coroutine.wrap(spin)) end
    end)()
  end)()
end

function LOOPS.resumes()
  local co = coroutine.create(function() while true do coroutine.yield(breathe()) end end)
  while true do coroutine.resume(co) end
end

function LOOPS.many_coroutines()
  while true do coroutine.resume(coroutine.create(error), {}) end
end

function LOOPS.message_handler() xpcall(error, spin) end

function LOOPS.message_handler_of_the_stop() xpcall(spin, spin) end

function LOOPS.metamethod()
  local t = setmetatable({}, { __index = spin })
  return t.x
end

function LOOPS.comparator()
  local t = {}
  for i = 1, 10 do t[i] = i end
  table.sort(t, function() spin() end)
end

function LOOPS.rep()
  local text = ("x"):rep(1000) -- a sanitizer looks at each copy of it
  while true do local _ = text:rep(1e4) end
end

function LOOPS.gsub() return (("x"):gsub("x", spin)) end

function LOOPS.closing()
  while true do
    local _ <close> = setmetatable({}, { __close = spin })
    breathe()
  end
end

function LOOPS.coroutine_close()
  local co = coroutine.create(function()
    local _ <close> = setmetatable({}, { __close = spin })
    coroutine.yield()
  end)
  coroutine.resume(co)
  while true do coroutine.close(co) end -- luacheck: ignore
end

function LOOPS.sleep()
  while true do core.sleep(30) end
end

function LOOPS.recursion()
  local function f(n) breathe() if n > 0 then return f(n - 1) + 1 end return 0 end
  while true do pcall(f, 5000) end
end

-- Calls of naq's own that wait for something that does not come.
local WAITS = {}

local function connection(args) return assert(naq.connection({ servers = { args.url } })) end

function WAITS.wait(args)
  local client = assert(naq.connect({ servers = { args.url } }))
  while true do client:job("nobody"):wait() end
end

function WAITS.request(args)
  local conn = connection(args)
  assert(conn:subscribe("limits.silent"))
  return conn:request("limits.silent", "?", 60)
end

function WAITS.next(args)
  local sub = assert(connection(args):subscribe("limits.nothing"))
  return sub:next()
end

function WAITS.dispatch(args)
  local conn = connection(args)
  assert(conn:subscribe("limits.nothing", print))
  return conn:dispatch(60)
end

function WAITS.fetch(args)
  local js = connection(args):jetstream()
  assert(js:ensure_stream("LIMITS", { subjects = { "limits.stream" }, retention = "limits" }))
  return assert(js:pull_subscribe("limits.stream")):fetch(1, { seconds = 60 })
end

function WAITS.watch(args)
  local watcher = assert(assert(connection(args):jetstream():kv("limits")):watch(">"))
  while true do watcher:next() end
end

function WAITS.connect(args)
  return naq.connect({ servers = { args.mute }, connection_timeout = 60 })
end

naq.job("wait", { max_retries = 0 }, function(args) return WAITS[args.how](args) end)
naq.job("waits", function()
  local names = {}
  for name in pairs(WAITS) do names[#names + 1] = name end
  return names
end)

-- Calls that no hook can end.
local HANGS = {}

function HANGS.pattern()
  return (("a"):rep(30)):find(("a?"):rep(30) .. ("a"):rep(30))
end

-- A comparator in C: no instruction of Lua's between two calls, of a tenth of a second each.
function HANGS.sort()
  local t, slow = {}, (".-"):rep(8) .. "%d"
  for i = 1, 1000 do t[i] = slow end
  table.sort(t, string.find)
end

function HANGS.shell() os.execute("exec sleep 60") end

function HANGS.read()
  local f <close> = assert(io.popen("exec sleep 60"))
  return f:read("a")
end

-- A pipe that nobody has opened for writing yet.
function HANGS.gate(args) assert(io.open(args.gate, "rb")):close() end

function HANGS.finalizer()
  setmetatable({}, { __gc = spin })
  collectgarbage()
end

function HANGS.finalizer_at_the_end()
  kept = setmetatable({}, { __gc = spin }) -- luacheck: ignore
  spin()
end

naq.job("loop", function(args)
  if args.warm then for _ = 1, 10 do breathe() end end
  return LOOPS[args.how]()
end)
naq.job("loops", function()
  local names = {}
  for name in pairs(LOOPS) do names[#names + 1] = name end
  return names
end)
naq.job("hang", { max_retries = 0 }, function(args) return HANGS[args.how](args) end)
naq.job("hang_once", { retry_delay = 0.05 }, function(args, job)
  if job.attempt == 1 then HANGS.gate(args) end
  return job.attempt
end)
naq.job("leave_finalizer", function()
  debug.getregistry().kept = setmetatable({}, { __gc = spin })
end)
naq.job("quick", function(args) return args end)
naq.job("limited", { timeout = 0.2, max_retries = 1, retry_delay = 0.05 }, spin)
naq.job("unlimited", { timeout = 0 }, function(args)
  core.sleep(args.seconds)
  return "slept"
end)

-- Keeps what it allocates; returns how much that was.
local function fill(bytes)
  local t, step = {}, 1000
  for i = 1, bytes / step do t[i] = ("x"):rep(step - 60) .. i end
  return #t
end

naq.job("fill", function(args) return fill(args.bytes) end)
naq.job("fill_and_catch", function(args)
  while true do pcall(fill, args.bytes) end
end)
naq.job("big_string", function(args)
  local ok, message = pcall(string.rep, "x", args.bytes)
  return { ok = ok, message = message and tostring(message):sub(1, 40) }
end)
naq.job("garbage", function(args)
  local s
  for i = 1, args.times do s = ("y"):rep(args.bytes) .. i end
  return #s
end)
naq.job("burn", function(args)
  local until_, x = os.clock() + args.seconds, 0
  while os.clock() < until_ do x = x + 1 end
  return "burnt"
end)
naq.job("count", function(args)
  local x = 0
  for i = 1, args.to do x = x + i end
  return x
end)
naq.job("count_in_coroutines", function(args)
  local x = 0
  for _ = 1, args.times do
    coroutine.wrap(function() for i = 1, args.to do x = x + i end end)()
  end
  return x
end)
naq.job("own_error", function()
  local ok, message = pcall(error, { code = 7 })
  local ok2, message2 = xpcall(error, function(m) return m .. "!" end, "own")
  local co = coroutine.wrap(function() error("in a coroutine") end)
  local ok3, message3 = pcall(co)
  return { ok, message.code, ok2, message2, ok3, message3 }
end)
naq.job("sethook", function() debug.sethook(function() end, "l") end)

local calls = 0
naq.job("count_calls", function()
  calls = calls + 1
  return calls
end)

-- At a moment that nobody chose.
naq.job("mixed", function(args)
  local deep
  function deep(n)
    breathe()
    if n == 0 then return 0 end
    return 1 + deep(n - 1)
  end
  local kept = {}
  local co = coroutine.wrap(function()
    while true do
      pcall(error, {})
      kept[#kept + 1] = tostring(deep(20))
      coroutine.yield(#kept)
    end
  end)
  for i = 1, args.turns do
    if co() % 100 == 0 then kept = {} end
    local _ <close> = setmetatable({}, { __close = function() kept.closed = i end })
  end
  return "through"
end)
