-- The naq command line: finds the command that was named, loads the one file it lives in, runs it
-- and turns what came of it into output and an exit code. Nothing else is loaded before the command
-- is known: a worker is to start in milliseconds.
--
-- A command is a table {description, usage, arguments, options, example, run} (see parser.lua);
-- run(args, extra) returns an exit code (nil: 0) or raises one of exit.lua's tables.

local exit = require("naq.cli.exit")
local parser = require("naq.cli.parser")

local cli = {}

-- In the order of the help: name, summary, module. A group has the names of its commands, each a
-- field of the module's table; `alias_of` says which command another name stands for.
local COMMANDS = {
  { "worker", "serve queues: run the jobs on them", "naq.cli.worker" },
  { "scheduler", "fire schedules, delayed jobs and retries, without running any", "naq.cli.scheduler" },
  { "enqueue", "put a job on a queue", "naq.cli.enqueue" },
  { "job", "jobs: their state, their result, ending them, running them again", "naq.cli.job",
    group = { "list", "show", "result", "explain", "cancel", "retry" } },
  {
    "queue",
    "queues: list, count, look at, pause, limit, empty",
    "naq.cli.queue",
    group = { "list", "stats", "peek", "delete", "pause", "resume", "set", "purge" },
  },
  { "failed", "dead letters: jobs that were given up", "naq.cli.failed",
    group = { "list", "show", "retry", "discard" } },
  { "schedule", "recurring schedules", "naq.cli.schedule",
    group = { "list", "add", "show", "modify", "pause", "resume", "cancel", "run", "next" } },
  { "workers", "the live workers", "naq.cli.workers" },
  { "server", "a local nats-server with JetStream, for development", "naq.cli.server" },
  { "run", "run a Lua program with naq on its path", "naq.cli.run" },
  { "config", "the configuration: show it, check it, begin a file", "naq.cli.config",
    group = { "show", "validate", "init" } },
  { "connections", "how Lua sources use connections", "naq.cli.connections", group = { "scan" } },
  { "doctor", "check server, JetStream, streams, clock and versions", "naq.cli.doctor" },
  { "purge", "the same as `naq queue purge`", "naq.cli.queue", alias_of = "purge" },
  { "list-scheduled", "the same as `naq schedule list`", "naq.cli.schedule", alias_of = "list" },
  { "job-control", "schedules and delayed jobs: cancel|pause|resume|reschedule", "naq.cli.schedule",
    alias_of = "control" },
  { "list-workers", "the same as `naq workers`", "naq.cli.workers" },
}

local function find(list, name)
  for _, entry in ipairs(list) do
    if entry[1] == name then return entry end
  end
end

-- The words before the command's name may be options of every command; they go behind it.
---@return string? name, string[] rest, string[] leading
local function split(words)
  local leading, i = {}, 1
  while words[i] and words[i]:sub(1, 1) == "-" do
    local word = words[i]
    leading[#leading + 1] = word
    if parser.LEADING[word] and words[i + 1] then
      i = i + 1
      leading[#leading + 1] = words[i]
    end
    i = i + 1
  end
  return words[i], table.move(words, i + 1, #words, 1, {}), leading
end

-- A group's command: `naq job show`. Returns the command, its full name and the words behind it.
local function in_group(entry, group, words, leading)
  local name, rest, more = split(words)
  table.move(more, 1, #more, #leading + 1, leading)
  local full = "naq " .. entry[1]
  if not name then
    if parser.has(leading, "-h", "--help") then
      error({ help = require("naq.cli.help").group(full, entry, group) }, 0)
    end
    exit.usage(("which? %s %s"):format(full, table.concat(entry.group, ", ")), full)
  end
  for _, known in ipairs(entry.group) do
    if known == name then return group[name], full .. " " .. name, rest end
  end
  exit.usage(require("naq.cli.help").unknown(full .. " " .. name, name, entry.group), full)
end

---@return table command, string full_name, string[] words behind the name
local function locate(words)
  local name, rest, leading = split(words)
  if name == "help" then
    -- `naq help job show` is `naq job show --help`
    rest[#rest + 1] = "--help"
    return locate(rest)
  end
  if not name then
    if parser.has(leading, "--version") then error({ version = true }, 0) end
    if parser.has(leading, "-h", "--help") then
      error({ help = require("naq.cli.help").all(COMMANDS, parser.COMMON) }, 0)
    end
    exit.usage("which command?")
  end
  local entry = find(COMMANDS, name)
  if not entry then
    local names = {}
    for i, known in ipairs(COMMANDS) do
      names[i] = known[1]
    end
    exit.usage(require("naq.cli.help").unknown(name, name, names))
  end
  local full = "naq " .. name
  local command = require(entry[3])
  if entry.group then
    command, full, rest = in_group(entry, command, rest, leading)
  elseif entry.alias_of then
    command = command[entry.alias_of]
  end
  return command, full, table.move(rest, 1, #rest, #leading + 1, leading)
end

local function run(words, wants)
  local command, name, rest = locate(words)
  local extra
  if command.split then
    -- `naq run`: what stands behind the file belongs to the program, --json as well.
    rest, extra = command.split(rest)
    wants.json = parser.has(rest, "--json")
  end
  local args = parser.parse(name, command, rest)
  args.command = name
  require("naq.core").default_signals()
  return command.run(args, extra) or exit.OK
end

local function report(problem, json)
  if problem.version then
    local version = require("naq.version")
    local output = require("naq.cli.output")
    if json then return output.object({ "version" }, { version = version }) end
    return output.line("naq ", version)
  elseif problem.help then
    return require("naq.cli.output").line(problem.help)
  elseif not problem.message then
    return
  elseif json then
    local error_line = require("naq.cli.output").encode({ "code", "message" }, problem)
    io.stderr:write('{"error":', error_line, "}\n")
  else
    io.stderr:write("naq: ", exit.printable(problem.message), "\n")
    if problem.hint then io.stderr:write(problem.hint, "\n") end
  end
end

--- Run one command line.
---@param words string[]
---@return integer status  exit code
function cli.run(words)
  local wants = { json = parser.has(words, "--json") }
  local ok, status = xpcall(run, exit.trace, words, wants)
  if ok then return status end
  local problem = status
  local written, failure = xpcall(report, exit.trace, problem, wants.json)
  if not written then
    -- The output itself is gone: a closed pipe ends quietly, a full disk says so.
    if failure.message then io.stderr:write("naq: ", failure.message, "\n") end
    return failure.exit or exit.FAILED
  end
  return problem.exit or exit.OK
end

--- The whole program.
---@param argv string[]  as the interpreter's global `arg`
function cli.main(argv)
  -- Not closing the state: the handles a command opened have been given back by now, and walking
  -- the heap would only delay the exit.
  os.exit(cli.run(argv))
end

return cli
