std = "min"
max_line_length = 110
files["lua/naq/cli"] = { std = "lua54" }
files["bin/naq"] = { std = "lua54" }
files["spec"] = {
  std = "min+busted",
  max_line_length = 120,
  read_globals = { math = { fields = { "type" } } }, -- asked for before it is used
}
files["bench"] = { std = "lua54" }
files["lua/naq/nginx.lua"] = { std = "min+ngx_lua" }
exclude_files = { "build/*", "lua/naq/core.meta.lua" }
