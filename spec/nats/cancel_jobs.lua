-- Jobs for cancel_spec.lua and crash/cancel_spec.lua: loops that do not end by themselves, and some that
-- look whether they are to. args.trail, where it is given, gets a line "<id> <attempt> <pid> <when>" at the
-- beginning; args.path a file with what a job has to say at its end.
local core = require("naq.core")
local naq = require("naq")

-- ThreadSanitizer delivers a signal when the thread calls into libc: under it a loop must allocate.
local sanitized = (os.getenv("NAQ_SPEC_PRELOAD") or ""):find("tsan", 1, true)
local function breathe() return {} end
local function spin()
  while sanitized do
    breathe()
  end
  while true do
  end
end

local function mark(args, job)
  if not args or not args.trail then return end
  local f = assert(io.open(args.trail, "ab"))
  f:write(("%s %d %d %.6f\n"):format(job.id, job.attempt, core.getpid(), core.now()))
  f:close()
end

local function say(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local loops = {
  plain = spin,
  pcall = function()
    while true do
      pcall(spin)
    end
  end,
  coroutine = function()
    while true do
      pcall(coroutine.wrap(function()
        while true do
          pcall(coroutine.yield)
        end
      end))
    end
  end,
  handler = function() xpcall(error, spin) end,
  sleep = function() core.sleep(30) end,
  wait = function(args) assert(naq.connection({ servers = { args.url } })):dispatch(30) end,
}

naq.job("loop", function(args, job)
  mark(args, job)
  loops[args.kind](args)
end)

-- Ends by itself, some time after it was told; then says so. Has looked once when its mark is there.
naq.job("tidy", function(args, job)
  job:cancelled()
  mark(args, job)
  while not job:cancelled() do
    core.sleep(args.look or 0.01)
  end
  core.sleep(args.tidy or 0)
  say(args.path, "tidied")
  return "a result that nobody gets"
end)

-- Looks, and goes on.
naq.job("stubborn", function(args, job)
  mark(args, job)
  while true do
    job:cancelled()
  end
end)

naq.job("brief", function(args, job)
  mark(args, job)
  core.sleep(args.seconds)
  return args.n
end)

naq.job("forgotten", { result_ttl = 0 }, function(args, job)
  mark(args, job)
  core.sleep(args.seconds)
  return args.n
end)

naq.job("kept_for_an_hour", { result_ttl = 3600 }, function(args, job)
  mark(args, job)
  core.sleep(args.seconds)
  return args.n
end)

naq.job("fail_slowly", { max_retries = 3, retry_delay = 0.01, retry_jitter = 0 }, function(args, job)
  mark(args, job)
  core.sleep(args.seconds)
  error("again")
end)

naq.job("fail_once", { max_retries = 1, retry_delay = 3600 }, function(args, job)
  mark(args, job)
  error("once")
end)

naq.job("call_into_c", function(args, job)
  mark(args, job)
  return ("a"):rep(40):find(("a?"):rep(40) .. ("a"):rep(40))
end)
