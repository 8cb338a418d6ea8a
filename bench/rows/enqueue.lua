-- enqueue, one after the other, against L1; both with a Msg-Id.
return function(measure, options)
  local n = options.singles
  local naq, base = measure.rounds(options.rounds, function()
    measure.fresh()
    return measure.lua("enqueue", n)
  end, function()
    measure.fresh()
    return measure.baseline("publish-one", { n = n })
  end)
  return {
    measure.compare({
      name = "enqueue",
      unit = "jobs/s",
      base_name = "L1",
      target = { ">=", 0.9 },
      notes = { measure.client_note("naq", naq), measure.cpu_note("L1", base) },
    }, naq, base, "rate"),
  }
end
