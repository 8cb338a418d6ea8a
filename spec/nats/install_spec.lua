-- What `cmake --install` and LuaRocks leave behind works without the tree it came from.

local core = require("naq.core")
local support = require("spec.support")

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- A shell command in a clean environment, from /: nothing of this tree may help.
local function shell(command)
  local clean = "env -i HOME=/nonexistent PATH=/usr/local/bin:/usr/bin:/bin CMAKE_BUILD_PARALLEL_LEVEL=2 "
  local p = assert(io.popen("cd / && " .. clean .. "sh -c " .. quoted(command) .. " 2>&1; echo \"[$?]\""))
  local out = p:read("*a")
  p:close()
  local text, status = out:match("^(.*)%[(%d+)%]\n$")
  return tonumber(status), text
end

-- What is installed is the plain build; with a sanitizer's there is nothing more to learn.
if support.preload then return end

describe("an installation", function()
  local prefix

  before_each(function() prefix = assert(core.mkdtemp("naq-spec-install")) end)
  after_each(function() core.rmtree(prefix) end)

  local function version_of(interpreter, abi)
    local lua, lib = ("%s/share/lua/%s/"):format(prefix, abi), ("%s/lib/lua/%s/"):format(prefix, abi)
    local paths = ("LUA_PATH='%s?.lua;%s?/init.lua;;' LUA_CPATH='%s?.so;;'"):format(lua, lua, lib)
    return shell(("%s %s -e 'print(require(\"naq\").VERSION)'"):format(paths, interpreter))
  end

  it("by cmake --install has the command and both modules", function()
    local install = "cmake --install " .. quoted(support.build) .. " --prefix " .. quoted(prefix)
    local status, out = shell(install)
    assert(status == 0, out)
    local version = core.VERSION .. "\n"
    assert.same({ 0, "naq " .. version }, { shell(prefix .. "/bin/naq --version") })
    assert.same({ 0, version }, { version_of("lua5.4", "5.4") })
    assert.same({ 0, version }, { version_of("luajit", "5.1") })
    assert.same({ 0, version }, { version_of("lua5.1", "5.1") })
  end)

  if io.open("/usr/bin/luarocks") then
    for _, one in ipairs({ { "5.4", "lua5.4" }, { "5.1", "lua5.1" } }) do
      it("by LuaRocks for Lua " .. one[1] .. " has the command and the module", function()
        -- A copy: LuaRocks builds inside the tree.
        local source = prefix .. "/source"
        local status, out = shell(table.concat({
          "mkdir " .. source,
          "cd " .. quoted(support.root),
          "cp -r CMakeLists.txt LICENSE bin csrc lua rockspec " .. source,
          "cd " .. source,
          ("luarocks --lua-version %s --tree %s make --deps-mode=none rockspec/naq-scm-1.rockspec"):format(
            one[1],
            prefix
          ),
        }, " && "))
        assert(status == 0, out)
        local version = core.VERSION .. "\n"
        assert.same({ 0, "naq " .. version }, { shell(prefix .. "/bin/naq --version") })
        assert.same({ 0, version }, { version_of(one[2], one[1]) })
      end)
    end
  end
end)
