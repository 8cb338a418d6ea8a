-- request_reply.lua -- a service that answers requests, and a program that asks it.
--
--   naq run examples/connections/request_reply.lua serve
--   naq run examples/connections/request_reply.lua ask 1 2 3.5
--
-- Start as many services as you like: they form a queue group, so each request goes to one of them. What a
-- service cannot do it says in a header, so that the asker can tell an answer from an excuse.

local naq = require("naq")

local SUBJECT = "calculator.sum"

local function sum(text)
  local total = 0
  for word in text:gmatch("%S+") do
    local n = tonumber(word)
    if not n then return nil, ("'%s' is not a number"):format(word) end
    total = total + n
  end
  return ("%g"):format(total)
end

local function serve(conn)
  assert(conn:subscribe(SUBJECT, { queue = "calculators" }, function(request)
    local answer, why = sum(request.data)
    if answer then
      request:respond(answer)
    else
      request:respond("", { Error = why })
    end
  end))
  conn:on("disconnected", function(event) print(event.message) end)
  print("serving " .. SUBJECT)
  io.stdout:flush()
  while true do
    assert(conn:dispatch(60)) -- requests, and what happens to the connection
  end
end

local function ask(conn, text)
  local answer, headers, code = conn:request(SUBJECT, text, 2)
  if not answer then
    if code == naq.errors.CONNECTION then return nil, "no calculator is running" end
    return nil, headers
  end
  if headers.Error then return nil, headers.Error end
  return answer
end

local command = table.remove(arg, 1)
local ok, answer, message = pcall(naq.with_connection, function(conn)
  if command == "serve" then return serve(conn) end
  return ask(conn, table.concat(arg, " "))
end)
if not ok or not answer then
  io.stderr:write("request_reply: ", tostring(not ok and answer or message), "\n")
  os.exit(1, true)
end
print(answer)
