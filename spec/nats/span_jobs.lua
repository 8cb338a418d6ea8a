-- Jobs that write down when they begin and when they end: "B|E <id> <pid> <epoch seconds>".
local core = require("naq.core")
local naq = require("naq")

local function note(args, kind, job)
  -- One short write to a file opened for appending: lines of several processes do not mix.
  local f = assert(io.open(args.trail, "ab"))
  f:write(("%s %s %d %.6f\n"):format(kind, job.id, core.getpid(), core.now()))
  f:close()
end

naq.job("span", function(args, job)
  note(args, "B", job)
  if args.seconds then core.sleep(args.seconds) end
  note(args, "E", job)
end)
