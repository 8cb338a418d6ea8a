-- A producer as a process of its own: `naq run producer.lua QUEUE COUNT TRAIL ACCEPTED`. Puts COUNT jobs
-- on the queue, by ones and by twenties, and notes each id in the file ACCEPTED once the server has
-- confirmed it. It does nothing about trouble itself: whatever is refused is noted with its reason.
local naq = require("naq")

local name, count, trail, accepted = ...
count = tonumber(count)
local client = assert(naq.connect())
local queue = client:queue(name)
local notes = assert(io.open(accepted, "ab"))
notes:setvbuf("line")

local function note(job, message, code)
  if job then
    notes:write(job.id, "\n")
  else
    notes:write(("refused %s %s\n"):format(code, message))
  end
end

local sent = 0
while sent < count do
  for _ = 1, 5 do
    note(queue:enqueue("mark", { trail = trail, seconds = 0.001 }))
  end
  local list = {}
  for i = 1, 20 do
    list[i] = { "mark", { trail = trail, seconds = 0.001 } }
  end
  local jobs, errors, code = queue:enqueue_many(list)
  if not jobs then note(nil, errors, code) end
  for i = 1, jobs and #jobs or 0 do
    if jobs[i] then note(jobs[i]) else note(nil, errors[i].message, errors[i].code) end
  end
  sent = sent + 25
end
notes:close()
client:close()
