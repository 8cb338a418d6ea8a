-- exit.lua: how a command ends early. A command that cannot go on raises one of the tables made
-- here; init.lua catches it, writes the error where and how the user asked for it, and exits.
-- Owns the exit codes of the command line and which error code leads to which.

local exit = { OK = 0, FAILED = 1, USAGE = 2, UNREACHABLE = 3 }
exit.INTERRUPTED, exit.BROKEN_PIPE = 130, 141 -- as the shell counts ends by SIGINT and SIGPIPE

-- What these codes say about any command: the server is not there, or does not let us in.
local UNREACHABLE = { CONNECTION = true, AUTH = true }

--- A text that anybody may have written, for a terminal: without the characters that steer it.
---@param text string
---@return string
function exit.printable(text) return (text:gsub("\t", "  "):gsub("[\0-\9\11-\31\127]", "?")) end

--- End the command because something failed: what a library call returned after nil.
---@param message string
---@param code? string
---@param status? integer exit code, where the error code does not decide it
function exit.fail(message, code, status)
  status = status or UNREACHABLE[code] and exit.UNREACHABLE or exit.FAILED
  error({ exit = status, message = message, code = code or "INVALID" }, 0)
end

--- End the command because it was called wrongly.
---@param message string
---@param command? string  full name, for the hint
function exit.usage(message, command)
  local hint = ("see: %s --help"):format(command or "naq")
  error({ exit = exit.USAGE, message = message, code = "INVALID", hint = hint }, 0)
end

--- End the command without a word.
---@param status integer
function exit.quietly(status) error({ exit = status }, 0) end

--- value, or the end of the command: assert() for `nil, message, code`.
function exit.check(value, message, code, ...)
  if value == nil then exit.fail(message, code) end
  return value, message, code, ...
end

--- Call a function of the library with what the user typed. Where the library raises because of
--- that (an unknown option, a bad name), the command was called wrongly; it blames the caller's line,
--- and here the caller is xpcall, which has none.
---@param command string  full name, for the hint
---@param fn function
---@return any ...  what fn returns
function exit.guard(command, fn, ...)
  local function handler(problem)
    local position = type(problem) ~= "string" or problem:find("^[^\n]-%.lua:%d+: ")
    return position and exit.trace(problem) or problem
  end
  local results = table.pack(xpcall(fn, handler, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  if type(results[2]) == "string" then exit.usage(results[2], command) end
  error(results[2], 0)
end

--- Message handler for xpcall: the tables above pass as they are, what nobody expected becomes one
--- with a traceback.
---@param problem any
---@return table
function exit.trace(problem)
  local ours = type(problem) == "table" and (problem.exit or problem.help or problem.version)
  if ours then return problem end
  local message = tostring(problem)
  -- Ctrl-C before default_signals() has taken the interpreter's handler away.
  if message:find("interrupted!$") then return { exit = exit.INTERRUPTED } end
  if message:find("module 'naq.core' not found", 1, true) then
    message = "the C core of naq is missing; build it: cmake -S . -B build && cmake --build build"
    return { exit = exit.FAILED, code = "CONFIGURATION", message = message }
  end
  message = debug.traceback("internal error: " .. message, 2)
  return { exit = exit.FAILED, code = "INVALID", message = message }
end

return exit
