local core = require("naq.core")

--- Call fn until it answers something true, which is returned. Fails after that many seconds, saying
--- what it waited for and what fn answered last.
---@param fn fun(): any
---@param seconds? number  default 5
---@param what? string
local function eventually(fn, seconds, what)
  local deadline = core.mono() + (seconds or 5)
  local pause = 0.001
  while true do
    local got, why = fn()
    if got then return got, why end
    if core.mono() >= deadline then
      error(
        ("waited %g s for %s; last answer: %s"):format(
          seconds or 5,
          what or "a condition",
          tostring(why == nil and got or why)
        ),
        2
      )
    end
    core.sleep(pause)
    pause = math.min(pause * 2, 0.05)
  end
end

return eventually
