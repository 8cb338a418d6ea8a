-- Many jobs through one worker: its memory after the first million against its largest later.
return function(measure, options)
  measure.served()
  local step = math.min(250000, math.max(options.soak // 8, 1))
  local got = measure.baseline("soak", { n = options.soak, step = step }, measure.worker(2))
  local first, largest = got.first_kb / 1024, got.largest_kb / 1024
  local ratio = largest / first
  return {
    {
      name = ("RSS over %d jobs"):format(got.n),
      unit = "MB",
      naq = { largest, largest, largest },
      base_name = "first million",
      base = { first, first, first },
      ratio = { ratio, ratio, ratio },
      target = { "<=", 1.05 },
    },
  }
end
