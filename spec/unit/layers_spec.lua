-- Who may include and require whom: only downwards. The rows are those of docs/architecture.md;
-- a new file has to find its row here before anybody can use it.

local support = require("spec.support")

-- C: a folder may include itself and the folders below it.
local C_ROWS = { base = 1, nats = 2, run = 3, bind = 4 }

-- Headers that stay behind one door each.
local DOORS = {
  { header = "^nats/", files = { "^csrc/nats/" } },
  {
    header = "^lua%.h$ ^lauxlib%.h$ ^lualib%.h$ ^luajit%.h$",
    files = { "^csrc/bind/", "^csrc/run/vm[_a-z]*%.[ch]$", "^csrc/run/limits%.[ch]$", "^csrc/run/coroutine%.[ch]$" },
  },
}

-- libnats' functions that open a connection, and the one file that calls them: what is to hold for
-- every connection (secrets kept out of messages, timeouts, the fork guard) has one place.
local CONNECTS = { "natsConnection_Connect%s*%(", "natsConnection_ConnectTo%s*%(" }
local CONNECTOR = "csrc/nats/conn.c"

-- Lua, from the bottom: a module may require modules of lower rows only; neighbours on a row do not
-- know each other.
local LUA_ROWS = {
  { "core" },
  { "lua_tokens", "lua_parser", "connection_advice" }, -- sources read and judged: pure
  { "lua_tree" },
  { "connection_names" },
  { "connection_flow" },
  { "connection_paths" },
  { "connection_holder" },
  { "connection_scan" },
  { "errors", "moment", "quantity", "server_urls", "shape", "version" },
  { "failure", "id_rule", "options", "pattern", "yaml" },
  -- policy: the options that enqueueing and job files share
  { "policy", "config_table_nats", "message", "subject", "jetstream_schema", "event_handlers" },
  { "config_table", "service_registry" },
  { "config_keys" },
  { "config_file", "config_listing" },
  { "config", "definitions", "hook_chain", "hooks", "jetstream_api", "job", "retry", "subscription" },
  { "enqueue_options", "recurrence" },
  { "schedule_record" },
  { "declarations", "schedule_store" },
  { "schedule_declare" },
  { "bucket", "config_memory", "kv_watcher" },
  { "dispatcher", "kv", "pull_subscription" },
  { "jetstream_streams", "jetstream_messages", "jetstream_consumers" },
  { "jetstream" },
  { "connection" },
  { "connections" },
  { "workers", "control", "guess", "leader" },
  { "lookup", "running" },
  { "details", "explain_queue", "queue_names", "queue_stats", "schedule", "waiting", "withdraw" },
  { "cancel", "explain", "jobs", "queue", "reschedule", "results", "revive" },
  { "dead_letter", "scheduled", "scheduler", "worker" },
  { "client" },
  { "services" },
  { "init" }, -- the public surface: require("naq")
  { "attempt", "library", "sources" }, -- from here on: what runs jobs
  { "job_files", "sandbox" },
  { "runner" }, -- entered by the core in a worker's states; hands its jobs a client
  { "testing_asserts", "testing_conn", "testing_run", "testing_server" },
  { "testing_store" },
  { "testing" },
  { "cli.exit" },
  { "cli.help", "cli.local_server", "cli.moment", "cli.output" },
  { "cli.parser" },
  { "cli.session" },
  { "cli.checks", "cli.queue_control" },
  { "cli.config", "cli.connections", "cli.doctor", "cli.job", "cli.queue", "cli.run", "cli.schedule",
    "cli.scheduler", "cli.server", "cli.worker", "cli.workers" },
  { "cli.enqueue", "cli.failed" }, -- print what `naq job` prints
  { "cli.init" },
}

local row_of = {}
for row, modules in ipairs(LUA_ROWS) do
  for _, module in ipairs(modules) do
    row_of[("naq." .. module):gsub("%.init$", "")] = row
  end
end

local function is_ours(module) return module == "naq" or module:match("^naq%.") ~= nil end

local function matches_any(text, patterns)
  for _, p in ipairs(patterns) do
    if text:find(p) then return true end
  end
  return false
end

local function without_c_comments(text)
  return (text:gsub("/%*.-%*/", " "):gsub("//[^\n]*", ""))
end

--- What is wrong with one C file, as a list of sentences.
local function check_c(path, text, exists)
  local problems = {}
  local function bad(...) problems[#problems + 1] = path .. ": " .. string.format(...) end
  local row = C_ROWS[path:match("^csrc/([^/]+)/") or ""]
  if not row then bad("is in no known folder of csrc/") end
  for open, header in text:gmatch('\n[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]') do
    if open == '"' then
      local folder = header:match("^([^/]+)/")
      if not (folder and C_ROWS[folder]) then
        bad('"%s" is not written from csrc/ ("base/...")', header)
      elseif row and C_ROWS[folder] > row then
        bad('"%s" is a layer above', header)
      elseif not exists("csrc/" .. header) then
        bad('"%s" does not exist', header)
      end
    end
    for _, door in ipairs(DOORS) do
      for pattern in door.header:gmatch("%S+") do
        if header:find(pattern) and open == "<" and not matches_any(path, door.files) then
          bad("<%s> may not be included here", header)
        end
      end
    end
  end
  if path ~= CONNECTOR and matches_any(without_c_comments(text), CONNECTS) then
    bad("opens a connection, which only %s does", CONNECTOR)
  end
  return problems
end

--- Code without comments and without the insides of long strings, so that an example in a comment
--- requires nothing.
local function code_of(text)
  text = text:gsub("%-%-%[(=*)%[.-%]%1%]", "")
  text = text:gsub("%-%-[^\n]*", "")
  return text
end

local function module_of(path)
  local name = path:match("^lua/(.*)%.lua$"):gsub("/", ".")
  return (name:gsub("%.init$", ""))
end

--- What is wrong with one Lua file of lua/.
local function check_lua(path, text)
  local problems = {}
  local function bad(...) problems[#problems + 1] = path .. ": " .. string.format(...) end
  local module = module_of(path)
  local row = row_of[module]
  if not row then bad("%s has no row in spec/unit/layers_spec.lua", module) end
  for required in code_of(text):gmatch("require%s*%(?%s*[\"']([^\"']+)[\"']") do
    if is_ours(required) and row then
      local target = row_of[required]
      if not target then
        bad('require("%s"): no such row', required)
      elseif target >= row then
        bad('require("%s"): %s', required, target == row and "a neighbour" or "a layer above")
      end
    end
  end
  return problems
end

local function read(path)
  local f = io.open(support.root .. "/" .. path, "rb")
  if not f then return nil end
  local text = f:read("*a")
  f:close()
  return text
end

local function files_of(folder, names)
  local list = {}
  local find = ("cd '%s' && find %s -type f %s | sort"):format(support.root, folder, names)
  local p = assert(io.popen(find))
  for path in p:lines() do
    list[#list + 1] = path
  end
  p:close()
  return list
end

local function check_all(paths, check)
  local problems = {}
  for _, path in ipairs(paths) do
    local found = check(path, "\n" .. read(path), function(other) return read(other) ~= nil end)
    for _, p in ipairs(found) do
      problems[#problems + 1] = p
    end
  end
  return table.concat(problems, "\n")
end

describe("the layers", function()
  it("hold in csrc/", function()
    local files = files_of("csrc", "-name '*.[ch]'")
    assert.is_true(#files > 10)
    assert.equal("", check_all(files, check_c))
  end)

  it("hold in lua/", function()
    local files = files_of("lua", "-name '*.lua' ! -name '*.meta.lua'")
    assert.equal("", check_all(files, check_lua))
  end)

  describe("given a file that breaks them", function()
    local function c(path, line)
      return check_c(path, "\n" .. line .. "\n", function() return true end)
    end
    local function lua(path, line) return check_lua(path, line .. "\n") end

    it("catches an include of a layer above", function()
      assert.matches("a layer above", c("csrc/base/log.c", '#include "nats/conn.h"')[1])
      assert.matches("a layer above", c("csrc/nats/conn.c", '# include "run/worker.h"')[1])
      assert.matches("a layer above", c("csrc/run/vm.c", '#include "bind/lcodec.h"')[1])
    end)

    it("catches <nats/nats.h> and <lua.h> outside their folders", function()
      assert.matches("nats/nats.h> may not", c("csrc/base/log.c", "#include <nats/nats.h>")[1])
      assert.matches("nats/nats.h> may not", c("csrc/bind/lconn.c", "#include <nats/nats.h>")[1])
      assert.matches("lua.h> may not", c("csrc/run/worker.c", "#include <lua.h>")[1])
      assert.matches("lauxlib.h> may not", c("csrc/nats/kv.c", "#include <lauxlib.h>")[1])
    end)

    it("catches a header that is not named from csrc/ or is not there", function()
      assert.matches("not written from csrc/", c("csrc/base/log.c", '#include "log.h"')[1])
      local gone = check_c("csrc/base/log.c", '\n#include "base/gone.h"\n', function() return false end)
      assert.matches("does not exist", gone[1])
    end)

    it("catches a connection opened elsewhere than in conn.c", function()
      local call = "    s = natsConnection_Connect (&nc, options);"
      assert.matches("only csrc/nats/conn.c", c("csrc/nats/loop.c", call)[1])
      assert.matches("only csrc/nats/conn.c", c("csrc/nats/kv.c", "natsConnection_ConnectTo(&nc, url);")[1])
      assert.same({}, c("csrc/nats/conn.c", call))
      assert.same({}, c("csrc/nats/loop.c", "/* natsConnection_Connect() is conn.c's. */"))
    end)

    it("catches a require of a layer above or of a neighbour", function()
      assert.matches("a layer above", lua("lua/naq/queue.lua", 'local c = require("naq.client")')[1])
      assert.matches("a neighbour", lua("lua/naq/queue.lua", "local r = require 'naq.results'")[1])
      assert.matches("a layer above", lua("lua/naq/errors.lua", "return require('naq')")[1])
    end)

    it("catches a module without a row", function()
      assert.matches("has no row", lua("lua/naq/misc.lua", "return {}")[1])
      assert.matches("no such row", lua("lua/naq/queue.lua", 'require("naq.nowhere")')[1])
    end)

    it("leaves what points down alone, and what stands in comments", function()
      assert.same({}, c("csrc/bind/lconn.c", '#include "nats/conn.h"\n#include <lua.h>'))
      assert.same({}, c("csrc/nats/conn.c", '#include "base/log.h"\n#include <nats/nats.h>'))
      assert.same({}, lua("lua/naq/queue.lua", 'local o = require("naq.options")'))
      assert.same({}, lua("lua/naq/queue.lua", '-- local c = require("naq.client")'))
      assert.same({}, lua("lua/naq/cli/init.lua", 'local w = require("naq.cli.worker")'))
    end)
  end)
end)
