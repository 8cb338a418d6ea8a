-- js:publish from Lua, one after the other, against libnats' js_Publish; both without a Msg-Id. And
-- publish_async.
return function(measure, options)
  local n = options.singles
  local function fresh()
    measure.baseline("wipe")
    measure.lua("js_publish", 0)
  end
  local naq, base = measure.rounds(options.rounds, function()
    fresh()
    return measure.lua("js_publish", n)
  end, function()
    fresh()
    return measure.baseline("js-publish", { n = n })
  end)
  local async = {}
  for i = 1, options.rounds do
    fresh()
    async[i] = measure.lua("js_publish", options.jobs, "async")
  end
  local rate = measure.spread(measure.pick(async, "rate"))[2]
  return {
    measure.compare({
      name = "js:publish",
      unit = "messages/s",
      base_name = "js_Publish",
      target = { ">=", 0.9 },
      notes = {
        measure.client_note("naq", naq),
        measure.cpu_note("js_Publish", base),
        ("publish_async: %.0f messages/s"):format(rate),
      },
    }, naq, base, "rate"),
  }
end
