-- kv:get from Lua, one after the other, against libnats' kvStore_Get; and through the leader, as buckets
-- of more than one replica are read.
return function(measure, options)
  local n = options.singles
  measure.fresh()
  measure.lua("kv_get", 0)
  local naq, base = measure.rounds(options.rounds, function()
    return measure.lua("kv_get", n)
  end, function()
    return measure.baseline("kv-get", { n = n })
  end)
  local leader = {}
  for i = 1, options.rounds do leader[i] = measure.lua("kv_get", n, "leader") end
  local rate = measure.spread(measure.pick(leader, "rate"))[2]
  return {
    measure.compare({
      name = "kv:get",
      unit = "reads/s",
      base_name = "kvStore_Get",
      target = { ">=", 0.9 },
      notes = {
        measure.client_note("naq", naq),
        measure.cpu_note("kvStore_Get", base),
        ("through the leader: %.0f reads/s"):format(rate),
      },
    }, naq, base, "rate"),
  }
end
