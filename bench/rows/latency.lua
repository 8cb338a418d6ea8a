-- From the call of enqueue to the job's first line on an idle worker, against L5: from before a
-- publish to the message in the hands of a waiting pull. One at a time, 3 ms apart. The machine's pace
-- changes within seconds, and with it a ratio of few long rounds: these are short, and thrice as many.
local SHORTER = 3

return function(measure, options)
  local n = options.samples // SHORTER
  local naq, base = measure.rounds(options.rounds * SHORTER, function()
    measure.served()
    local client = measure.program("latency", n, 0.003)
    measure.baseline("with-worker", { settle_ms = 300 }, measure.worker(2), client)
    return measure.baseline("latencies")
  end, function()
    measure.served()
    return measure.baseline("latency", { n = n, gap_us = 3000 })
  end)
  local function row(name, field, limit)
    local line = { name = name, unit = "µs", base_name = "L5", target = { "<=", limit } }
    return measure.compare(line, naq, base, field)
  end
  return {
    row("enqueue -> first line, p50", "p50_us", 1.3),
    row("enqueue -> first line, p99", "p99_us", 2),
  }
end
