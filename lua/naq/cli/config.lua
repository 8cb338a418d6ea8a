-- `naq config show`, `naq config validate`, `naq config init`. None of them needs a server.

local config = require("naq.config")
local core = require("naq.core")
local exit = require("naq.cli.exit")
local output = require("naq.cli.output")
local session = require("naq.cli.session")

local show = {
  summary = "the merged configuration, and where each value came from",
  description = [[
    Prints the configuration that a command or program started here would work with: built-in
    defaults, then the file, then the environment, then the options given. Passwords, tokens and
    what stands before the host of a server's URL are shown as ***.]],
  options = { { "--sources", doc = "say where each value came from" } },
  example = "naq config show --sources",
}

-- Leaves as one JSON object, in their order.
local function nested_json(leaves, encode)
  local out, open = { "{" }, {}
  local first = true
  for _, leaf in ipairs(leaves) do
    local parts = require("naq.config_keys").parts(leaf.path)
    local same = 0
    while same < #parts - 1 and open[same + 1] == parts[same + 1] do
      same = same + 1
    end
    out[#out + 1] = ("}"):rep(#open - same)
    if not first then out[#out + 1] = "," end
    for depth = same + 1, #parts - 1 do
      out[#out + 1] = core.encode(parts[depth]) .. ":{"
    end
    open = table.move(parts, 1, #parts - 1, 1, {})
    out[#out + 1] = ("%s:%s"):format(core.encode(parts[#parts]), encode(leaf))
    first = false
  end
  return table.concat(out) .. ("}"):rep(#open + 1)
end

local function encode_value(leaf)
  local value = type(leaf.value) == "table" and core.array(leaf.value) or leaf.value
  return exit.check(core.encode(value))
end

local function encode_sourced(leaf)
  return ('{"value":%s,"source":%s}'):format(encode_value(leaf), core.encode(leaf.source))
end

function show.run(args)
  local listing = require("naq.config_listing")
  local resolved = session.configuration(args)
  local leaves = listing.leaves(resolved)
  if args.json then
    return output.line(nested_json(leaves, args.sources and encode_sourced or encode_value))
  end
  local function sourced(leaf, line)
    return ("%-44s "):format(line) .. output.style("# " .. leaf.source, "dim")
  end
  output.line(listing.document(leaves, args.sources and sourced or nil))
end

local validate = {
  summary = "check a configuration file and the environment",
  description = [[
    Checks the file (the one that would be used, unless FILE names another), all environments in
    it, and the NAQ_* variables, and prints everything that is wrong with its file and line. The
    exit status is 1 when anything is.]],
  usage = "[FILE]",
  arguments = { { "file", args = "?", doc = "the file to check" } },
  example = "naq config validate naq.yaml",
}

function validate.run(args)
  local options = session.options(args)
  options.config = args.file or options.config
  local problems, file = exit.guard(args.command, config.problems, options)
  local list = core.array({})
  for i, problem in ipairs(problems) do
    list[i] = { file = problem.file, line = problem.line, message = problem.message }
  end
  if args.json then
    output.object({ "ok", "file", "problems" }, { ok = #list == 0, file = file, problems = list })
  elseif #list == 0 then
    output.line(file and file .. " is fine" or "no configuration file; the environment is fine")
  else
    for _, problem in ipairs(problems) do
      output.line(require("naq.config_file").sentence(problem))
    end
  end
  return #list == 0 and exit.OK or exit.FAILED
end

local init = {
  summary = "write a commented naq.yaml with the defaults",
  description = [[
    Writes a configuration file with every key, what it means and its default, to begin with. A
    file that exists is left alone.]],
  usage = "[FILE] [--force]",
  arguments = { { "file", args = "?", doc = "the file to write (default: naq.yaml)" } },
  options = {
    { "--force", doc = "overwrite a file that exists" },
    { "--yes", doc = "the same" },
  },
  example = "naq config init",
}

local function exists(path)
  local f, _, number = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil or number ~= 2 -- ENOENT
end

function init.run(args)
  local path = args.file or "naq.yaml"
  if exists(path) and not (args.force or args.yes) then
    exit.fail(("%s exists; --force overwrites it"):format(path), "INVALID")
  end
  local f, message = io.open(path, "wb")
  local written = f and f:write(require("naq.config_listing").template())
  if f then
    local closed, why = f:close()
    written, message = written and closed, message or why
  end
  if not written then exit.fail("cannot write " .. tostring(message), "INVALID") end
  if args.json then return output.object({ "file" }, { file = path }) end
  output.line(("wrote %s; `naq config show --sources` says what holds now"):format(path))
end

return { show = show, validate = validate, init = init }
