-- From just before `naq worker` is executed to the first line of its first job.
return function(measure, options)
  measure.served()
  local runs = {}
  for i = 1, options.starts do
    runs[i] = measure.baseline("start", nil, measure.worker(2, "--max-jobs", 1))
  end
  return {
    {
      name = "start of naq worker -> first job",
      unit = "ms",
      naq = measure.spread(measure.pick(runs, "start_ms")),
      target = { "<=", 30 },
    },
  }
end
