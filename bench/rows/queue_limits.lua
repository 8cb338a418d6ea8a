-- No-op jobs of a queue with limits so high that they never bind, against the same queue without: what
-- leasing slots and starts costs.
return function(measure, options)
  local n = options.jobs
  local function side(concurrency, rate)
    return function()
      measure.fill(n)
      if concurrency then measure.lua("queue_set", concurrency, rate) end
      return measure.baseline("watch", { poll_ms = 50 }, measure.worker(2, "--max-jobs", n))
    end
  end
  local limited, free = measure.rounds(options.rounds, side(1000000, 100000000), side())
  return {
    measure.compare({
      name = "worker, queue limited",
      unit = "jobs/s",
      base_name = "no limits",
      target = { ">=", 0.8 },
      notes = { measure.cpu_note("limited", limited), measure.cpu_note("no limits", free) },
    }, limited, free, "rate"),
  }
end
