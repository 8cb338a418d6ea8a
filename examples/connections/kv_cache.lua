-- kv_cache.lua -- a cache that all programs of a bucket share, with a copy of it in each.
--
--   naq run examples/connections/kv_cache.lua HOST...
--
-- Looks up what is slow to find out (here: a made-up distance of each HOST) once a minute for everybody. A
-- watcher keeps the copy in this process fresh, so that most reads cost nothing; where two programs find
-- out the same thing at the same time, the first one's answer counts for both.

local naq = require("naq")

local TTL = 60 -- seconds

local Cache = {}
Cache.__index = Cache

--- kv: a bucket with a time to live. compute(key) -> value: what to do on a miss.
local function new_cache(kv, compute)
  local watcher = assert(kv:watch())
  return setmetatable({ kv = kv, compute = compute, watcher = watcher, copy = {} }, Cache)
end

-- Take in what others have written since the last time. seconds: how long to wait for the first of it.
function Cache:refresh(seconds)
  local event, message, code
  repeat
    event, message, code = self.watcher:next(seconds)
    if not event then break end
    if event.operation == "put" then
      -- An expiry makes no event: the copy has to know when its entry goes.
      self.copy[event.key] = { value = event.value, gone_at = event.created + TTL }
    elseif event.operation == "reset" then
      self.copy = {}
    elseif event.key then
      self.copy[event.key] = nil
    end
  until event.operation == "up_to_date"
  if not event and code ~= naq.errors.TIMEOUT then error(message) end
end

local function keep(self, key, value)
  self.copy[key] = { value = value, gone_at = os.time() + TTL }
end

--- The value of a key, and where it came from: "memory", "bucket" or "computed".
function Cache:get(key)
  self:refresh(0)
  local entry = self.copy[key]
  if entry and entry.gone_at > os.time() then return entry.value, "memory" end
  local value = self.compute(key)
  local revision, message, code = self.kv:create(key, value)
  if revision then
    keep(self, key, value)
    return value, "computed"
  end
  if code ~= naq.errors.KEY_EXISTS then return nil, message, code end
  local theirs
  theirs, message, code = self.kv:get(key)
  if theirs then
    keep(self, key, theirs)
    return theirs, "bucket"
  end
  return nil, message, code
end

local function slow_distance(host) return tostring(#host * 7 % 100) end

local done, message = naq.with_jetstream({}, function(js)
  local kv, differs = assert(js:kv("distances", { ttl = TTL, description = "kv_cache.lua's" }))
  if differs then io.stderr:write("kv_cache: ", table.concat(differs, "; "), "\n") end
  local cache = new_cache(kv, slow_distance)
  cache:refresh(5) -- until the copy is complete
  for _, host in ipairs(arg) do
    local value, from = assert(cache:get(host))
    print(("%s is %s away (%s)"):format(host, value, from))
  end
  return true
end)
if not done then
  io.stderr:write("kv_cache: ", message, "\n")
  os.exit(1, true)
end
