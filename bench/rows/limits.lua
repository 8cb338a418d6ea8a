-- What limits cost as long as they do not strike: the same job with timeout, cpu_limit and memory_limit,
-- and without. max_instructions has a price, told as a note.
return function(measure, options)
  local n = options.burns
  local function side(job, count)
    return function()
      measure.fill(count, job)
      return measure.baseline("watch", { poll_ms = 50 }, measure.worker(2, "--max-jobs", count))
    end
  end
  local function row(name, limited, free)
    return measure.compare({
      name = name,
      unit = "jobs/s",
      base_name = "without limits",
      target = { ">=", 0.95 },
    }, limited, free, "rate")
  end
  local noop, noop_free =
    measure.rounds(options.rounds, side("noop_limited", options.jobs), side("noop", options.jobs))
  local burn, burn_free = measure.rounds(options.rounds, side("burn_limited", n), side("burn", n))
  local counted = side("burn_counted", n)()
  local row_of_burns = row("CPU-bound jobs under limits", burn, burn_free)
  row_of_burns.notes = {
    ("with max_instructions: %.0f jobs/s"):format(counted.rate),
  }
  return { row("no-op jobs under limits", noop, noop_free), row_of_burns }
end
