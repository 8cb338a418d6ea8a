-- No-op jobs with result_ttl = 0 against L3. There is no record to take times from: the rate is how
-- fast the queue's stream shrank, looked at every few milliseconds, on both sides.
return function(measure, options)
  local function side(n, program)
    return function()
      measure.fill(n, "noop_forget")
      return measure.baseline("watch", { poll_ms = 5 }, program)
    end
  end
  local n = options.jobs
  local naq, base = measure.rounds(
    options.rounds,
    side(n, measure.worker(2, "--max-jobs", n)),
    side(n, measure.baseline_program("ack", n))
  )
  return {
    measure.compare({
      name = "worker, result_ttl = 0",
      unit = "jobs/s",
      base_name = "L3",
      target = { ">=", 0.8 },
      notes = { measure.cpu_note("naq", naq), measure.cpu_note("L3", base) },
    }, naq, base, "drain_rate"),
  }
end
