-- The example of a cache in a bucket, on each interpreter.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local nats = support.nats

local EXAMPLE = support.root .. "/examples/connections/kv_cache.lua"
local OPTIONS = { ttl = 60, description = "kv_cache.lua's" } -- as the example has them

describe("examples/connections/kv_cache.lua", function()
  local server, folder

  setup(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-cache"))
  end)

  teardown(function()
    server:stop()
    core.rmtree(folder)
  end)

  local function run(interpreter, abi, ...)
    local out = folder .. "/out"
    os.remove(out) -- spawn() appends
    local pid = assert(core.spawn({ interpreter, EXAMPLE, ... }, {
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
    local state, status = core.wait(pid, 60)
    local f = assert(io.open(out, "rb"))
    local text = f:read("*a")
    f:close()
    return state == "exited" and status or state, text
  end

  local function distances()
    return assert(assert(naq.connection({ servers = { server.url } })):jetstream():kv("distances", OPTIONS))
  end

  for _, one in ipairs({ { "lua5.4", "5.4" }, { "luajit", "5.1" }, { "lua5.1", "5.1" } }) do
    it("computes once and reads from its copy after that, in " .. one[1], function()
      local kv = distances()
      for _, key in ipairs(assert(kv:keys())) do
        assert(kv:purge(key))
      end
      local status, out = run(one[1], one[2], "mars", "moon", "mars")
      assert.equal(
        "mars is 28 away (computed)\nmoon is 28 away (computed)\nmars is 28 away (memory)\n",
        out
      )
      assert.equal(0, status)
      assert.equal("28", (kv:get("moon")))
      assert(kv:put("moon", "384400"))
      assert(kv:delete("mars"))
      status, out = run(one[1], one[2], "moon", "mars")
      assert.equal("moon is 384400 away (memory)\nmars is 28 away (computed)\n", out)
      assert.equal(0, status)
      kv.connection:close()
    end)
  end

  it("says in one line when there is no server", function()
    server:halt()
    local status, out = run("lua5.4", "5.4", "moon")
    assert.equal(1, status)
    assert.matches("^kv_cache: [^\n]*" .. server.url:gsub("%p", "%%%0") .. "[^\n]*\n$", out)
    server:restart()
  end)
end)
