-- connection_advice.lua -- the patterns of connection use that a scan tells apart, what each means and
-- what to write instead. docs/connections.md has them for people. Pure.
local advice = {}

--   scoped            lent by with_connection(), with_jetstream(), with_kv()
--   injected          lent by a function that uses_connection() or uses_jetstream() made
--   to-be-closed      local conn <close>
--   module            opened by the main chunk, for as long as the program runs
--   default-client    the client of naq.enqueue() and its like
--   per-call          opened by a function for itself
--   per-iteration     opened in a loop
--   dropped           used without a name, so that nobody can close it
--   kept-after-scope  a lent handle that is kept beyond the scope
--   returned, stored, captured, passed-on   somebody else's to close
--   unresolved        what is called cannot be followed
--   unreadable        the file is no Lua
local WHY = {
  scoped = "given back when the function ends, on an error too",
  injected = "given back when the function ends, on an error too",
  ["to-be-closed"] = "given back at the end of the block, on an error too",
  module = "open as long as the program, whose end closes it",
  ["default-client"] = "the program's default client, closed by naq.disconnect() or at the program's end",
  returned = "returned: whoever gets it has to close it",
  stored = "kept in a table, or in a variable that is not followed: whoever holds it has to close it",
  captured = "used by a function that may run later: whether that closes it is not seen",
  ["passed-on"] = "handed to another function: whether that closes it is not seen",
}

local DOUBT = {
  computed = "which function of naq this is shows only when it runs",
  unsure = "whether this is naq's shows only when it runs",
  ["function"] = "handed on uncalled: what becomes of its handle is not seen",
}

local NOT_GIVEN_BACK = {
  error = "an error in line %d passes the close() by",
  ["return"] = "the return in line %d leaves it open",
  never = "nothing closes it",
}

local SCOPED = {
  connection = "naq.with_connection(options, function(conn) ... end), or on Lua 5.4: "
    .. "local conn <close> = assert(naq.connection(options))",
  client = "one client for the whole file: local client = assert(naq.connect(options)) outside the "
    .. "function; or on Lua 5.4: local client <close> = assert(naq.connect(options))",
  services = "one for the whole file, outside the function; or on Lua 5.4: "
    .. "local services <close> = assert(naq.services(options))",
}

local BEFORE_THE_LOOP = {
  connection = "once around the loop: naq.with_connection(options, function(conn) for ... end end)",
  client = "once before the loop: local client = assert(naq.connect(options))",
  services = "once before the loop: local services = assert(naq.services(options))",
}

local function kind_of(use)
  if use.call == "naq.services" then return "services" end
  return (use.call == "naq.connect" or use.call == "naq.client.connect") and "client" or "connection"
end

local function explain(use, more)
  if use.pattern == "kept-after-scope" then
    return ("line %d keeps the handle beyond the scope, which closes it"):format(more.at)
  elseif use.pattern == "dropped" then
    return "nothing holds it, so nothing can close it"
  elseif more.doubt then
    return DOUBT[more.doubt]
  elseif use.given_back == "no" then
    return NOT_GIVEN_BACK[more.reason or "never"]:format(more.at)
  elseif WHY[use.pattern] then
    return WHY[use.pattern]
  elseif use.given_back == "unknown" then
    return "closed on some ways through the function; on all is not certain"
  end
  return use.pattern == "per-iteration" and "given back, and opened again each time round"
    or "closed on every way out of the function"
end

local function instead(use)
  if use.pattern == "per-iteration" then
    return BEFORE_THE_LOOP[kind_of(use)]
  elseif use.pattern == "kept-after-scope" then
    return "use it inside the function only, or open one that lives longer with naq.connection()"
  end
  return SCOPED[kind_of(use)]
end

--- Fill in whether a use should be changed, why, and what to write instead.
---@param use naq.ConnectionUse
---@param more {at: integer?, reason: string?, doubt: string?}
---@return naq.ConnectionUse
function advice.complete(use, more)
  use.change = use.given_back == "no" or use.pattern == "kept-after-scope"
    or use.pattern == "per-iteration" and use.given_back == "yes"
  use.why = explain(use, more)
  if use.change then use.instead = instead(use) end
  return use
end

return advice
