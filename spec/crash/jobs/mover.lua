-- Moves jobs to the next seconds, again and again until they have run: naq run mover.lua SECONDS ID... Prints
-- how often it did; the seconds end it when they do not run.
local core = require("naq.core")
local naq = require("naq")
local client = assert(naq.connect())

local till = core.mono() + tonumber(arg[1])
local waiting = { table.unpack(arg, 2) } -- luacheck: ignore 143
local moved = 0
math.randomseed(core.getpid())
while #waiting > 0 and core.mono() < till do
  local at = math.random(#waiting)
  local done, message, code = client:job(waiting[at]):reschedule(core.now() + math.random() * 3 - 0.2)
  if done then
    moved = moved + 1
  elseif code ~= naq.errors.WRONG_STATE then
    error(("%s (%s)"):format(message, code))
  elseif message:find("completed", 1, true) then
    table.remove(waiting, at)
  end
end
print(moved)
