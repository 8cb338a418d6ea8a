local core = require("naq.core")

--- How long fn takes: the least of at most three calls, or of fewer when one takes less than `limit`. The
--- machine may be busy with something else once.
---@param limit number  seconds
---@param fn fun(try: integer)
---@return number seconds
local function fastest(limit, fn)
  local least = math.huge
  for try = 1, 3 do
    local begun = core.mono()
    fn(try)
    least = math.min(least, core.mono() - begun)
    if least < limit then break end
  end
  return least
end

return fastest
