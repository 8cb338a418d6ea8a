-- What a watcher of a bucket tells, in words.
local watching = {}

--- "put k=v", "delete k", "up_to_date"
function watching.told(event)
  if not event then return nil end
  local text = event.operation
  if event.key then text = text .. " " .. event.key end
  if event.value then text = text .. "=" .. event.value end
  return text
end

--- The next n events; fails when one does not come in time.
---@return string[]
function watching.take(watcher, n, seconds)
  local list = {}
  for i = 1, n do
    local event, message = watcher:next(seconds or 5)
    list[i] = watching.told(event) or error(("event %d: %s"):format(i, message), 2)
  end
  return list
end

return watching
