-- Programs that use naq, on each interpreter that it runs on: with this tree's library and the module built
-- for them.

local core = require("naq.core")

local interpreters = {}

--- { name, the Lua version of its module }
interpreters.LIST = { { "lua5.4", "5.4" }, { "luajit", "5.1" }, { "lua5.1", "5.1" } }

--- Start argv with one of the list; what it prints goes to the file `out`. url: its server.
function interpreters.start(one, argv, out, url)
  local support = require("spec.support")
  local line = { one[1] }
  for _, word in ipairs(argv) do
    line[#line + 1] = word
  end
  return assert(core.spawn(line, {
    stdout = out,
    stderr = out,
    die_with_parent = true,
    env = {
      LUA_PATH = support.lua_path,
      LUA_CPATH = ("%s/lib/%s/?.so;;"):format(support.build, one[2]),
      LUA_PATH_5_4 = false,
      LUA_CPATH_5_4 = false,
      LD_PRELOAD = support.preload,
      NAQ_NATS_URL = url,
    },
  }))
end

function interpreters.text_of(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

--- The same, to its end. Returns its exit status (a word when it did not end by itself) and what it printed.
function interpreters.run(one, argv, out, url, seconds)
  local pid = interpreters.start(one, argv, out, url)
  local state, status = core.wait(pid, seconds or 60)
  if state == "running" then core.kill(pid, "KILL") end
  return state == "exited" and status or state, interpreters.text_of(out)
end

return interpreters
