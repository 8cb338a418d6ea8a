-- No-op jobs with their results stored, acked after the result is, against L4. The rate is taken
-- between the server's timestamps of the first and the last record, on both sides.
return function(measure, options)
  local function side(n, program)
    return function()
      measure.fill(n)
      return measure.baseline("watch", { poll_ms = 50 }, program)
    end
  end
  local n = options.jobs
  local small = math.max(n // 10, 1000)
  side(small, measure.worker(2, "--max-jobs", small))() -- warm-up, not counted
  side(small, measure.baseline_program("record", small))()
  local naq, base = measure.rounds(
    options.rounds,
    side(n, measure.worker(2, "--max-jobs", n)),
    side(n, measure.baseline_program("record", n))
  )
  measure.unserved(n)
  local first = measure.baseline("watch", { poll_ms = 50 }, measure.worker(2, "--max-jobs", n))
  local unserved = "naq, %d jobs of a queue not served since the server started: %.0f/s"
  local bytes = "a record takes %.0f bytes in its stream, of L4 %.0f"
  local later = "second half of the records: naq %.0f/s, L4 %.0f/s"
  local function median(list, field)
    return measure.spread(measure.pick(list, field))[2]
  end
  return {
    measure.compare({
      name = "worker, results stored",
      unit = "jobs/s",
      base_name = "L4",
      target = { ">=", 0.95 },
      notes = {
        measure.cpu_note("naq", naq),
        measure.cpu_note("L4", base),
        bytes:format(naq[1].record_bytes, base[1].record_bytes),
        unserved:format(n, first.rate),
        later:format(median(naq, "rate_half2"), median(base, "rate_half2")),
      },
    }, naq, base, "rate"),
  }
end
