-- What spec/nats/span_jobs.lua left behind: how many jobs ran at the same time, and when they began.
local spans = {}

---@return {kind: "B"|"E", id: string, pid: integer, at: number}[] events  by time
function spans.read(path)
  local events = {}
  local f = io.open(path, "rb")
  if not f then return events end
  for kind, id, pid, at in f:read("*a"):gmatch("([BE]) (%S+) (%d+) (%S+)\n") do
    events[#events + 1] = { kind = kind, id = id, pid = tonumber(pid), at = tonumber(at) }
  end
  f:close()
  for i, event in ipairs(events) do
    event.order = i
  end
  table.sort(events, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.order < b.order
  end)
  return events
end

--- The most jobs that ran at the same time. dead: pid -> when it was killed; its jobs ended then.
---@param dead? table<integer, number>
function spans.most(events, dead)
  local running, n, most = {}, 0, 0
  for _, event in ipairs(events) do
    for key, pid in pairs(running) do
      if dead and dead[pid] and dead[pid] <= event.at then
        running[key] = nil
        n = n - 1
      end
    end
    local key = event.id .. "/" .. event.pid
    if event.kind == "B" then
      running[key] = event.pid
      n = n + 1
    elseif running[key] then
      running[key] = nil
      n = n - 1
    end
    if n > most then most = n end
  end
  return most
end

--- When jobs began.
---@return number[] times, string[] ids
function spans.starts(events)
  local times, ids = {}, {}
  for _, event in ipairs(events) do
    if event.kind == "B" then
      times[#times + 1] = event.at
      ids[#ids + 1] = event.id
    end
  end
  return times, ids
end

return spans
