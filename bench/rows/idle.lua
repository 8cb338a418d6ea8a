-- What an idle worker holds and how often it wakes: RSS from /proc/PID/status, wakes as voluntary
-- context switches of all its threads. A further thread is the difference to 18 threads, by 16.
return function(measure, options)
  measure.fresh()
  local two = measure.baseline("idle", { seconds = options.idle }, measure.worker(2))
  local many = measure.baseline("idle", { seconds = 1 }, measure.worker(18))
  local function one(x)
    return { x, x, x }
  end
  return {
    {
      name = "idle worker of 2 threads, RSS",
      unit = "MB",
      naq = one(two.rss_kb / 1024),
      target = { "<=", 10 },
      notes = {
        ("anonymous memory %.1f MB; %d threads in the process; CPU %.1f ms in %d s"):format(
          two.anon_kb / 1024, two.threads, two.cpu_ms, options.idle),
      },
    },
    {
      name = "each further thread, RSS",
      unit = "kB",
      naq = one((many.rss_kb - two.rss_kb) / 16),
      target = { "<=", 300 },
    },
    { name = "wakes when idle", unit = "/s", naq = one(two.wakes), target = { "<=", 2 } },
  }
end
