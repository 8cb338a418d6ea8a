-- Jobs that burn a millisecond of CPU each: two threads against one.
return function(measure, options)
  local n = options.burns
  local function threads(count)
    return function()
      measure.fill(n, "burn")
      return measure.baseline("watch", { poll_ms = 50 }, measure.worker(count, "--max-jobs", n))
    end
  end
  local two, one = measure.rounds(options.rounds, threads(2), threads(1))
  return {
    measure.compare({
      name = "CPU-bound jobs, 2 threads",
      unit = "jobs/s",
      base_name = "1 thread",
      target = { ">=", 1.8 },
    }, two, one, "rate"),
  }
end
