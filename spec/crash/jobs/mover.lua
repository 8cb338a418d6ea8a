-- Moves jobs about as long as they wait: naq run mover.lua SECONDS ID... Ends when none of them waits any
-- more or the time is over, and prints how often it did and how often it was refused.
local core = require("naq.core")
local naq = require("naq")
local client = assert(naq.connect())

local till = core.mono() + tonumber(arg[1])
local waiting = { table.unpack(arg, 2) } -- luacheck: ignore 143
local moved, refused = 0, 0
math.randomseed(core.getpid())
while #waiting > 0 and core.mono() < till do
  local at = math.random(#waiting)
  local done, message, code = client:job(waiting[at]):reschedule(core.now() + math.random() * 3 - 0.2)
  if done then
    moved = moved + 1
  elseif code == naq.errors.WRONG_STATE then
    refused = refused + 1
    if message:find("completed", 1, true) then table.remove(waiting, at) end
  else
    error(("%s (%s)"):format(message, code))
  end
end
print(moved, refused)
