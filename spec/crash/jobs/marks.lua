-- Jobs that leave a line behind when they begin, so that a spec knows what really ran, where, and
-- how often. args.trail is the file; a line is "<id> <attempt> <pid> <epoch seconds>".
local core = require("naq.core")
local naq = require("naq")

local function mark(args, job)
  -- One short write to a file opened for appending: lines of several processes do not mix.
  local f = assert(io.open(args.trail, "ab"))
  f:write(("%s %d %d %.6f\n"):format(job.id, job.attempt, core.getpid(), core.now()))
  f:close()
end

local function exists(path)
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

-- Until somebody makes the file args.gate.
local function wait_at_gate(args)
  while not exists(args.gate) do
    core.sleep(0.005)
  end
end

naq.job("mark", function(args, job)
  mark(args, job)
  if args.seconds then core.sleep(args.seconds) end
  return args.n
end)

naq.job("hold", function(args, job)
  mark(args, job)
  wait_at_gate(args)
  return "held"
end)

naq.job("hold_and_fail", function(args, job)
  mark(args, job)
  wait_at_gate(args)
  error({ message = "failed behind the gate", code = "GATE" })
end)

naq.job("fail_before_the_gate", function(args, job)
  mark(args, job)
  if not exists(args.gate) then error("the gate is closed") end
  return "through"
end)

naq.job("hold_in_coroutine", function(args, job)
  mark(args, job)
  return coroutine.wrap(function()
    pcall(wait_at_gate, args)
    wait_at_gate(args)
    return "held"
  end)()
end)

naq.job("loop", function(args, job)
  mark(args, job)
  local n = 0
  while n % 1000 ~= 0 or not exists(args.gate) do
    n = n + 1
  end
end)

-- One call into C that nothing interrupts.
naq.job("hang", function(args, job)
  mark(args, job)
  return ("x"):rep(2000):find((".-"):rep(8) .. "y")
end)

naq.job("fail_and_hold", function(args, job)
  mark(args, job)
  if job.attempt == 1 then error("the first attempt fails") end
  wait_at_gate(args)
end)

naq.job("fail_first", function(args, job)
  mark(args, job)
  if job.attempt == 1 then error("the first attempt fails") end
  return job.attempt
end)

naq.job("fail_twice", function(args, job)
  mark(args, job)
  if job.attempt <= 2 then error("the first two attempts fail") end
  return job.attempt
end)

naq.job("kill_the_worker", function(args, job)
  mark(args, job)
  core.kill(core.getpid(), "KILL")
  core.sleep(10)
end)
