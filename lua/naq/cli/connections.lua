-- `naq connections scan`: how Lua sources use naq's connections, and what should be written otherwise.
-- Reads files only; needs no server.

local exit = require("naq.cli.exit")
local output = require("naq.cli.output")

local connections = {}

-- The members of --json, in this order.
local KEYS = { "file", "line", "call", "pattern", "given_back", "change", "why", "instead" }

local GIVEN_BACK_STYLES = { yes = "green", no = "red", unknown = "yellow" }

-- The .lua files below a directory; a file as it is, whatever its name.
local function add_files(files, path)
  local below = require("naq.core").lua_files(path)
  if not below then
    files[#files + 1] = path
    return
  end
  local folder = path:gsub("/+$", "")
  for _, name in ipairs(below) do
    files[#files + 1] = folder .. "/" .. name
  end
end

local function read(path)
  local file, message = io.open(path, "rb")
  local text
  if file then
    text, message = file:read("a")
    file:close()
  end
  -- A directory opens like a file, and says what it is only when it is read.
  if not text then
    local named = message:find(path, 1, true) and message or path .. ": " .. message
    exit.fail("cannot read " .. named)
  end
  return text
end

local function scan(path)
  local uses, message, line = require("naq.connection_scan").scan(read(path))
  if not uses then
    local why = "not read as Lua: " .. message
    uses = { { line = line, pattern = "unreadable", given_back = "unknown", change = true, why = why } }
  end
  for _, use in ipairs(uses) do
    use.file = path
  end
  return uses
end

local function print_use(use)
  local head = ("%s:%d"):format(use.file, use.line)
  local given = "given back: " .. output.style(use.given_back, GIVEN_BACK_STYLES[use.given_back])
  output.line(("%s  %s  %s, %s"):format(output.style(head, "bold"), use.call or "-", use.pattern, given))
  output.line("   ", output.indented(use.why, "   "))
  if use.instead then output.line("   instead: ", use.instead) end
end

local function counted(n, one, many) return ("%d %s"):format(n, n == 1 and one or many) end

connections.scan = {
  summary = "how Lua sources use connections, and what to change",
  description = [[
    Reads Lua sources, directories with all .lua files below them, and lists every place where a
    connection of naq is opened or lent: the pattern, whether it is given back on an error too, and
    what to write where it is not. What cannot be told from the source is `unknown`. Exit status 0
    when there is nothing to change, 1 when there is, or a file is no Lua.]],
  usage = "PATH...",
  arguments = { { "path", args = "+", doc = "Lua files and directories" } },
  example = "naq connections scan src jobs.lua",
}

function connections.scan.run(args)
  local files = {}
  for _, path in ipairs(args.path) do
    add_files(files, path)
  end
  local uses, changes = 0, 0
  for _, path in ipairs(files) do
    for _, use in ipairs(scan(path)) do
      uses = uses + 1
      if use.change then changes = changes + 1 end
      if args.json then
        output.object(KEYS, use)
      else
        print_use(use)
      end
    end
  end
  if not args.json then
    local found = ("%s in %s"):format(counted(uses, "use", "uses"), counted(#files, "file", "files"))
    output.line(found, changes == 0 and ": nothing to change" or (": %d to change"):format(changes))
  end
  return changes == 0 and exit.OK or exit.FAILED
end

return connections
