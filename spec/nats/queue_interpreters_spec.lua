-- Queues under control from each interpreter that clients run on, and after the client was closed.

local core = require("naq.core")
local support = require("spec.support")

local PROGRAM = [[
local naq = require("naq")
local client = assert(naq.connect())
local queue = client:queue(arg[1])
local out = {}
local function note(...)
  for i = 1, select("#", ...) do out[#out + 1] = tostring((select(i, ...))) end
end
assert(queue:configure({ concurrency = 4, rate_limit = "90/m", retry_on = {} }))
local settings = assert(queue:settings())
note(settings.concurrency, settings.rate_limit, #settings.retry_on)
settings = assert(queue:configure({ concurrency = naq.null, retry_on = naq.null, rate_limit = 1.5 }))
note(settings.concurrency, settings.rate_limit)
assert(queue:pause())
note(queue:stats().paused)
local ids = {}
for i = 1, 5 do ids[i] = assert(queue:enqueue("any", { i })).id end
local page = assert(queue:peek(2))
note(#page, page[2].id == ids[2], page[2].args[1])
page = assert(queue:peek(10, page[2].seq))
note(#page, page[1].id == ids[3])
note((queue:delete(ids[3])))
note(select(3, queue:delete(ids[3])))
note(#assert(queue:peek()), queue:purge())
assert(queue:resume())
note(queue:stats().paused)
client:close()
for _, method in ipairs({ "pause", "resume", "settings", "peek", "stats" }) do
  note((pcall(queue[method], queue)))
end
note((pcall(queue.configure, queue, { concurrency = 1 })), (pcall(queue.delete, queue, ids[1])))
io.write(table.concat(out, " "))
]]

local WANTED = "4 90/m 0 nil 1.5 true 2 true 2 3 true true JOB_NOT_FOUND 4 4 false"
  .. (" false"):rep(7)

describe("a program that controls queues", function()
  local server, folder
  setup(function()
    server = support.nats.start()
    folder = assert(core.mkdtemp("naq-spec-queues"))
    local f = assert(io.open(folder .. "/program.lua", "wb"))
    f:write(PROGRAM)
    f:close()
  end)
  teardown(function()
    server:stop()
    core.rmtree(folder)
  end)

  for _, one in ipairs({ { "lua5.4", "5.4" }, { "luajit", "5.1" }, { "lua5.1", "5.1" } }) do
    local interpreter, abi = one[1], one[2]
    it("runs on " .. interpreter .. ", also where naq was never used before", function()
      local out = ("%s/%s.out"):format(folder, interpreter)
      local argv = { interpreter, folder .. "/program.lua", support.fresh_name() }
      local pid = assert(core.spawn(argv, {
        stdout = out,
        stderr = out,
        die_with_parent = true,
        env = {
          LUA_PATH = support.lua_path,
          LUA_CPATH = ("%s/lib/%s/?.so;;"):format(support.build, abi),
          LUA_PATH_5_4 = false,
          LUA_CPATH_5_4 = false,
          LD_PRELOAD = support.preload,
          NAQ_NATS_URL = server.url,
        },
      }))
      assert.same({ "exited", 0 }, { core.wait(pid, 60) })
      local f = assert(io.open(out, "rb"))
      local text = f:read("*a")
      f:close()
      assert.equal(WANTED, text)
    end)
  end
end)
