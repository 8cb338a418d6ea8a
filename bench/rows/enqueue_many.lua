-- One call of enqueue_many against L2, which keeps 1024 acks in flight; both with a Msg-Id.
return function(measure, options)
  local n = options.jobs
  local naq, base = measure.rounds(options.rounds, function()
    measure.fresh()
    return measure.lua("enqueue_many", n)
  end, function()
    measure.fresh()
    return measure.baseline("publish", { n = n })
  end)
  return {
    measure.compare({
      name = "enqueue_many",
      unit = "jobs/s",
      base_name = "L2",
      target = { ">=", 0.8 },
      notes = { measure.client_note("naq", naq), measure.cpu_note("L2", base) },
    }, naq, base, "rate"),
  }
end
