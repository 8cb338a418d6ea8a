-- Jobs that do one thing each, for worker_spec.lua.
local core = require("naq.core")
local naq = require("naq")

local at_load = "set while the file was loaded"
loaded_global = at_load -- luacheck: ignore

naq.job("echo", function(args) return args end)
naq.job("nothing", function() end)
naq.job("no", function() return false end)
naq.job("about", function(_, job)
  return {
    id = job.id,
    name = job.name,
    queue = job.queue,
    attempt = job.attempt,
    max_retries = job.max_retries,
    enqueued_at = job.enqueued_at,
  }
end)

naq.job("leave_a_global", function(args)
  local before = left_behind -- luacheck: ignore
  left_behind = args -- luacheck: ignore
  return { before = before or naq.null, loaded = loaded_global } -- luacheck: ignore
end)

naq.job("raise_text", function() error("plain text") end)
naq.job("raise_table", function() error({ message = "a table", code = "MY_CODE" }) end)
naq.job("raise_nothing", function() error() end)
naq.job("raise_odd", function() error(setmetatable({}, { __tostring = function() error("again") end })) end)
naq.job("return_error", function() return nil, "why", "CODE" end)
naq.job("return_error_with_number", function() return nil, "why", 7 end)
naq.job("return_error_without_code", function() return nil, "just why" end)
naq.job("return_function", function() return print end)
naq.job("call_exit", function() os.exit(3) end)
naq.job("overflow", function()
  local function f() return 1 + f() end
  return f()
end)

naq.job("fail_until", { retry_delay = 0.02, retry_jitter = 0, max_retries = 5 }, function(args, job)
  if job.attempt < args.attempt then error({ message = "attempt " .. job.attempt, code = "NOT_YET" }) end
  return job.attempt
end)

naq.job("ignored", { ignore_on = { "GONE" } }, function() error({ message = "away", code = "GONE" }) end)
naq.job("discard", function(_, job) return job:discard("too big") end)

naq.job("snooze", function(args, job)
  local f = assert(io.open(args.trail, "ab"))
  f:write(("%s %d %d %.6f\n"):format(job.id, job.attempt, core.getpid(), core.now()))
  f:close()
  local count = 0
  for line in io.lines(args.trail) do
    if line:find(job.id, 1, true) then count = count + 1 end
  end
  if count <= args.times then return job:snooze(args.seconds or 0.05) end
  return { runs = count, attempt = job.attempt }
end)

naq.job("enqueue_another", function(args, job)
  local other, message, code = job:enqueue("echo", args, { queue = job.queue })
  if not other then return nil, message, code end
  return other.id
end)

-- Fails until somebody makes the file args.gate.
naq.job("needs_file", { max_retries = 1, retry_delay = 0 }, function(args, job)
  local f = io.open(args.gate, "rb")
  if not f then error({ message = "no file yet", code = "NO_FILE" }) end
  f:close()
  return { attempt = job.attempt, n = args.n }
end)

naq.job("fail_long", { retry_delay = 0 }, function(args)
  local function deep(n)
    if n == 0 then error(("x"):rep(args.message or 10000)) end
    return deep(n - 1) .. ""
  end
  return deep(50)
end)

naq.job("snooze_badly", function(args, job)
  local seconds = ({ inf = math.huge, nan = 0 / 0 })[args.seconds] or args.seconds
  return job:snooze(seconds)
end)
