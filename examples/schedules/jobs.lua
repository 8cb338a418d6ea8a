-- jobs.lua -- a job file that brings its schedules along:
--   naq worker --jobs jobs.lua
--   naq schedule list
local naq = require("naq")

naq.job("report", function(args) return { kind = args.kind, made_at = os.time() } end)
naq.job("sweep", function() return "clean" end)

-- Every night at three o'clock of Berlin, in summer and in winter; after an outage once.
naq.schedule("nightly", {
  job = "report",
  args = { kind = "daily" },
  cron = "0 3 * * *",
  timezone = "Europe/Berlin",
})

-- Every second, but never two at a time.
naq.schedule("sweeper", { job = "sweep", interval = 1, overlap = "skip" })
