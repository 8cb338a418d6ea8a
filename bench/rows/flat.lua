-- Whether a job costs the same however many wait behind it: the rate at which a deep queue is run empty
-- against the rate with 1,000 jobs queued. L4 shows what of it is the server's. A worker's first pull
-- of a priority that has nothing pending makes the server look through all that is queued once (about
-- 0.3 s at a million); the rate has that in it.
return function(measure, options)
  local function first_jobs(depth, make)
    return function()
      local n = depth
      measure.fill(depth)
      return measure.baseline("watch", { poll_ms = 20, jobs = n }, make(n))
    end
  end
  local function worker(n)
    return measure.worker(2, "--max-jobs", n)
  end
  local function record(n)
    return measure.baseline_program("record", n)
  end
  -- A thousand jobs last ten milliseconds: many short runs stand against one long one.
  local function often(fn)
    return function()
      local runs = {}
      for i = 1, 9 do runs[i] = fn() end
      return { ack_rate = measure.spread(measure.pick(runs, "ack_rate"))[2] }
    end
  end
  local rounds = math.min(options.rounds, 3)
  local deep, shallow =
    measure.rounds(rounds, first_jobs(options.deep, worker), often(first_jobs(1000, worker)))
  local base_deep = first_jobs(options.deep, record)()
  local base_shallow = often(first_jobs(1000, record))()
  local server = "L4: %.0f/s with %d queued, %.0f/s with 1000"
  return {
    measure.compare({
      name = ("%d jobs queued"):format(options.deep),
      unit = "jobs/s",
      base_name = "1000 queued",
      target = { ">=", 0.85 },
      notes = { server:format(base_deep.ack_rate, options.deep, base_shallow.ack_rate) },
    }, deep, shallow, "ack_rate"),
  }
end
