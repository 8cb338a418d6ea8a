-- What every spec stands on. Run by busted before the specs (see .busted), and required by them:
-- local support = require("spec.support")
--
-- NAQ_BUILD names the build tree (default ./build). With a sanitizer's build the interpreter itself
-- is started with LD_PRELOAD; children inherit it, nats-server excepted. A shell does not even start
-- with libtsan: there only those get it that load the module.

local here = (debug.getinfo(1, "S").source:sub(2):match("^(.*)/spec/support/[^/]*$")) or "."
local root = here:sub(1, 1) == "/" and here or (os.getenv("PWD") .. "/" .. here)
root = root:gsub("/%./", "/"):gsub("/%.$", "")

local build = os.getenv("NAQ_BUILD") or (root .. "/build")
if build:sub(1, 1) ~= "/" then build = os.getenv("PWD") .. "/" .. build end
local abi = _VERSION == "Lua 5.4" and "5.4" or "5.1"

local lua_path = root .. "/lua/?.lua;" .. root .. "/lua/?/init.lua;"
local lua_cpath = build .. "/lib/" .. abi .. "/?.so;"
if not package.path:find(lua_path, 1, true) then
  package.path = lua_path .. root .. "/?.lua;" .. root .. "/?/init.lua;" .. package.path
  package.cpath = lua_cpath .. package.cpath
end

-- busted loads this file by its path; whoever requires it gets the same table.
if package.loaded["spec.support"] then return package.loaded["spec.support"] end

local support = {
  root = root,
  build = build,
  --- Where a child of Lua 5.4 finds this tree, whatever interpreter runs the specs.
  lua_path = lua_path .. ";",
  lua_cpath = build .. "/lib/5.4/?.so;;",
}
package.loaded["spec.support"] = support

-- This file may be loaded once more for a spec file, after it took the variable away: so it is kept aside.
support.preload = os.getenv("LD_PRELOAD") or os.getenv("NAQ_SPEC_PRELOAD")
if (support.preload or ""):find("tsan", 1, true) then
  local setenv = require("naq.core").setenv
  setenv("NAQ_SPEC_PRELOAD", support.preload)
  setenv("LD_PRELOAD", nil)
end

support.eventually = require("spec.support.eventually")
support.fastest = require("spec.support.fastest")
support.nats = require("spec.support.nats")
support.process = require("spec.support.process")
support.trail = require("spec.support.trail")
support.connected = require("spec.support.connected")
support.naq = support.process.naq
support.start_worker = support.process.start_worker

function support.scene() return require("spec.support.scene").new(root) end
function support.scheduled() return require("spec.support.scheduled").new() end

--- A name that no other test uses.
function support.fresh_name() return "t" .. require("naq.core").new_id() end
support.nats.fresh_name = support.fresh_name

-- Servers and workers die with this process in any case; a failed spec must not leave them to the
-- specs after it.
local ok, busted = pcall(require, "busted")
if ok and type(busted) == "table" and busted.subscribe then
  busted.subscribe({ "file", "end" }, function()
    support.process.stop_all()
    support.nats.stop_all()
    return nil, true
  end)
end

return support
