-- Key-value on each interpreter that clients run on: what differs between them are numbers over 2^53, and
-- how an iteration that is left early ends.

local core = require("naq.core")
local interpreters = require("spec.support.interpreters")
local support = require("spec.support")
local nats = support.nats

local PROGRAM = [[
local naq = require("naq")
collectgarbage("setpause", 50)
collectgarbage("setstepmul", 1000)
local out = {}
local function note(...)
  local words = { ... }
  for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
  out[#out + 1] = table.concat(words, " ")
end

local returned = naq.with_kv("settings", {}, function(kv)
  local first = assert(kv:put("a", "1\0\255"))
  local value, revision = kv:get("a")
  note(#value, value == "1\0\255", revision == first, first)
  note(select(3, kv:update("a", "x", 99)))
  note(kv:update("a", "2", first))
  note(select(3, kv:create("a", "x")))
  assert(kv:delete("a"))
  note(kv:create("a", "3"))
  assert(kv:put("b", "4"))
  for key, v, r in assert(kv:each()) do note(key, v, r) end
  for key in assert(kv:each()) do if key then break end end
  note(table.concat(assert(kv:keys("*")), ","))
  note(#assert(kv:history("a")))
  local watcher = assert(kv:watch("b"))
  for event in watcher:each(5) do
    note(event.operation, event.key)
    -- Not before: what is purged while the server still reads the initial values is none of them.
    if event.operation == "up_to_date" then assert(kv:purge("b")) end
    if event.operation == "purge" then watcher:stop() end
  end
  return "returned"
end)
note(returned)

local conn = assert(naq.connection())
local js = conn:jetstream()
local years = 3 * 365 * 86400
local kv = assert(js:kv("years", { ttl = years }))
note(assert(kv:status()).ttl == years, select(2, js:kv("years", { ttl = years })))
local watcher = assert(kv:watch())
assert(watcher:next(5))
conn:close()
note(pcall(watcher.next, watcher, 0) == false)
watcher, kv, js, conn = nil, nil, nil, nil
collectgarbage()
io.write(table.concat(out, "\n"), "\n")
]]

local WANTED = [[
3 true true 1
WRONG_REVISION
2 nil nil
KEY_EXISTS
4 nil nil
a 3 4
b 4 5
a,b
1
put b
up_to_date nil
purge b
returned
true nil nil
true
]]

describe("key-value", function()
  local server, folder

  setup(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-kv"))
    local f = assert(io.open(folder .. "/program.lua", "wb"))
    f:write(PROGRAM)
    f:close()
  end)

  teardown(function()
    server:stop()
    core.rmtree(folder)
  end)

  for _, one in ipairs(interpreters.LIST) do
    it("works in " .. one[1], function()
      server:stop()
      server = nats.start()
      local status, text = interpreters.run(one, { folder .. "/program.lua" }, folder .. "/" .. one[1], server.url)
      assert.equal(WANTED, text)
      assert.equal(0, status)
    end)
  end
end)
