-- Jobs for torture_spec.lua: each says what it is about to become in a line of args.trail,
-- "<id> <attempt> <pid> <event> <run>", and carries the run into its result or its error,
-- so that a record can be traced to the very run that it tells of.
local core = require("naq.core")
local naq = require("naq")

local function note(args, job, event, run)
  -- One short write to a file opened for appending: lines of several processes do not mix.
  local f = assert(io.open(args.trail, "ab"))
  f:write(("%s %d %d %s %s\n"):format(job.id, job.attempt, core.getpid(), event, run))
  f:close()
end

-- Some wait and some compute: a worker may die in either.
local function work(args)
  if args.seconds then core.sleep(args.seconds) end
  for i = 1, args.turns or 0 do
    local _ = { i }
  end
end

local function job_of(name, act)
  naq.job(name, function(args, job)
    local run = core.new_id()
    note(args, job, "begun", run)
    return act(args, job, run)
  end)
end

local function complete(args, job, run)
  work(args)
  note(args, job, "returned", run)
  return { run = run }
end

local function fail(args, job, run)
  work(args)
  note(args, job, "raised", run)
  error({ message = "run " .. run, code = "TORTURE" })
end

job_of("complete", complete)
job_of("fail", fail)

job_of("recover", function(args, job, run)
  return (job.attempt <= args.failures and fail or complete)(args, job, run)
end)

job_of("discard", function(args, job, run)
  work(args)
  note(args, job, "discarded", run)
  return job:discard("run " .. run)
end)

job_of("snooze", function(args, job, run)
  local path = ("%s/snoozed-%s"):format(args.dir, job.id)
  local seen = io.open(path, "rb")
  if seen then
    seen:close()
    return complete(args, job, run)
  end
  note(args, job, "snoozed", run)
  assert(io.open(path, "wb")):close()
  return job:snooze(args.delay)
end)

job_of("time_out", function(args)
  if args.sleeps then core.sleep(60) end
  while true do
    -- ThreadSanitizer delivers a signal when the thread calls into libc, so the loop allocates.
    pcall(function() return { ("x"):rep(64) } end)
  end
end)

job_of("eat", function()
  local eaten = {}
  for i = 1, math.huge do
    eaten[i] = ("x"):rep(10000) .. i
  end
  return eaten
end)

job_of("kill_the_worker", function()
  core.kill(core.getpid(), "KILL")
  core.sleep(60)
end)
