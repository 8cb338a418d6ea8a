-- Counts in a schedule's arguments, beside others who do: naq run schedule_counter.lua ID TIMES. Who is told
-- that somebody else was faster looks again.
local naq = require("naq")
local client = assert(naq.connect())
local schedule = assert(client:schedule(arg[1]))

local done = 0
while done < tonumber(arg[2]) do
  local row = assert(schedule:info())
  local changed, message, code = schedule:modify({ args = { n = row.args.n + 1 } })
  if changed then
    done = done + 1
  elseif code ~= naq.errors.WRONG_REVISION then
    error(message)
  end
end
client:close()
