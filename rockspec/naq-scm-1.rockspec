rockspec_format = "3.0"
package = "naq"
version = "scm-1"

-- Built from the tree that this file stands in: luarocks make --deps-mode=none rockspec/naq-scm-1.rockspec
source = { url = "git+file://." }

description = {
  summary = "A job queue for Lua on NATS JetStream, with workers in C",
  detailed = [[
Jobs are Lua functions; workers are one small process with many threads, each with a Lua state of its own.
Everything durable lives in NATS JetStream: there is no other server. Clients run on Lua 5.1, LuaJIT and
Lua 5.4, workers and the naq command on Lua 5.4.]],
  license = "MIT",
  labels = { "queue", "nats", "jetstream", "jobs" },
}

-- Debian's packages of these two are no rocks, hence --deps-mode=none there. Beside them, and only for
-- configuration files: lyaml 6.2 (luarocks install lyaml, with libyaml), loaded where there is such a file.
dependencies = { "lua >= 5.1, < 5.5", "lua-cjson >= 2.1", "argparse >= 0.7" }

external_dependencies = {
  NATS = { header = "nats/nats.h", library = "nats" },
  OPENSSL = { header = "openssl/ssl.h", library = "ssl" },
}

build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "RelWithDebInfo",
    NAQ_LUA_INCDIR = "$(LUA_INCDIR)",
    NAQ_LUADIR = "$(LUADIR)",
    NAQ_LIBDIR = "$(LIBDIR)",
    NAQ_BINDIR = "$(BINDIR)",
    NAQ_WERROR = "OFF",
  },
}

test = { type = "busted" }
