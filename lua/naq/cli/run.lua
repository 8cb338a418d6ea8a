-- `naq run`: a Lua program in this process, with naq on its path.

local exit = require("naq.cli.exit")
local session = require("naq.cli.session")

local run = {
  description = [[
    Runs a Lua program that can require("naq"), from an installation or from a source tree. What
    stands behind FILE belongs to the program, which finds it in `arg`. The options before FILE
    reach the program as NAQ_NATS_URL, NAQ_CONFIG and NAQ_LOG_LEVEL.]],
  usage = "[OPTION...] FILE [ARG...]",
  arguments = { { "file", doc = "the program; what stands behind it are its arguments" } },
  options = {
    { "--with-server", doc = "start a local server for the program, with a temporary store" },
  },
  example = "naq run --with-server examples/hello.lua 10",
}

--- What stands behind the first word that is no option and no option's value is the program's.
function run.split(words)
  local leading = require("naq.cli.parser").LEADING
  local i = 1
  while words[i] and words[i]:sub(1, 1) == "-" and words[i] ~= "-" do
    if words[i] == "--" then
      i = i + 1
      break
    end
    i = i + (leading[words[i]] and 2 or 1)
  end
  return table.move(words, 1, i, 1, {}), table.move(words, i + 1, #words, 1, {})
end

-- The program's traceback, without the frames of this command below it.
local OUR_FRAMES = "\n%s*%[C%]: in function 'xpcall'\n[^\n]*cli/run%.lua.*$"

local function describe(problem)
  local text = type(problem) == "string" and problem
    or getmetatable(problem) and getmetatable(problem).__tostring and tostring(problem)
    or ("(error object is a %s value)"):format(type(problem))
  text = debug.traceback(text, 2):gsub(OUR_FRAMES, "")
  return { exit = exit.FAILED, code = "INVALID", message = text }
end

function run.run(args, program_args)
  local program, message = loadfile(args.file)
  if not program then exit.fail(message, "INVALID") end
  local stop = session.beside(args)
  local setenv = require("naq.core").setenv
  if args.nats_url then setenv("NAQ_NATS_URL", args.nats_url) end
  if args.config then setenv("NAQ_CONFIG", args.config) end
  if args.log_level then setenv("NAQ_LOG_LEVEL", args.log_level) end
  program_args[0] = args.file
  program_args[-1] = _G.arg and _G.arg[0]
  _G.arg = program_args
  local ok, problem = xpcall(program, describe, table.unpack(program_args))
  stop()
  if not ok then error(problem, 0) end
end

return run
