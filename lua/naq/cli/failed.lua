-- `naq failed`: dead letters, the jobs that were given up: `list` them, `show` one, `retry` or
-- `discard` some or all.

local exit = require("naq.cli.exit")
local job = require("naq.cli.job")
local moment = require("naq.cli.moment")
local output = require("naq.cli.output")
local parser = require("naq.cli.parser")
local session = require("naq.cli.session")

local failed = {}

-- The members of --json, in this order.
local LISTED = { "id", "job", "queue", "reason", "attempts", "failed_at", "error" }
local SHOWN = {
  "id", "job", "queue", "priority", "reason", "enqueued_at", "failed_at", "error", "attempts", "attempts_cut",
  "payload_base64",
}

local FILTERS = {
  { "-q --queue", "QUEUE", doc = "only of this queue" },
  { "--reason", "REASON", doc = "only with this reason: failed, discarded, crashed, timeout, memory, cpu, "
    .. "instructions, stuck, undecodable, unknown_job" },
  { "--job", "JOB", doc = "only of this job" },
  { "--since", "T", convert = moment.parse, doc = "failed then or later: epoch seconds, ISO 8601, "
    .. "or so long ago (90s, 15m, 2h, 7d)" },
  { "--until", "T", convert = moment.parse, doc = "failed before" },
}

local function with_filters(...)
  local list = { ... }
  return table.move(FILTERS, 1, #FILTERS, #list + 1, list)
end

local NAMES = { "queue", "reason", "job", "since", "until" }

---@return table filter, boolean any
local function filter_of(args)
  local filter, any = {}, false
  for _, name in ipairs(NAMES) do
    filter[name] = args[name]
    any = any or args[name] ~= nil
  end
  return filter, any
end

-- The letters of a filter, one at a time; ends the command when they cannot be read.
local function each(client, args)
  local next_letter = exit.guard(args.command, function() return client:failed():each((filter_of(args))) end)
  return function()
    local letter, message, code = next_letter()
    if letter == false then exit.fail(message, code) end
    return letter
  end
end

local function attempts_of(letter) return #letter.attempts + (letter.attempts_cut or 0) end

local function error_line(letter)
  local failure = letter.error or {}
  return ("%s: %s"):format(failure.code or "?", failure.message or "?")
end

local function first_line(text) return (output.indented(text, ""):gsub("\n.*", " ...")) end

local COLUMNS = {
  { title = "ID", value = function(row) return row.id end },
  { title = "JOB", value = function(row) return row.job end, cut = true },
  { title = "QUEUE", value = function(row) return row.queue end, cut = true },
  { title = "REASON", value = function(row) return row.reason end },
  { title = "ATTEMPTS", value = function(row) return ("%d"):format(attempts_of(row)) end, right = true },
  { title = "FAILED", value = function(row) return output.time(row.failed_at) end },
  { title = "ERROR", value = function(row) return first_line(error_line(row)) end, cut = true },
}

-- Lines of a table are aligned so many at a time: the list may be longer than fits into memory.
local ROWS = 500

failed.list = {
  summary = "the dead letters, oldest first",
  description = [[
    Lists the dead letters, oldest first: jobs that were given up after their last attempt, because
    they said so themselves, or because they can never be run.]],
  usage = "[-q QUEUE] [--reason REASON] [--job JOB] [--since T] [--until T] [--limit N]",
  options = with_filters({ "--limit", "N", convert = parser.count, doc = "at most so many" }),
  example = "naq failed list -q mail --since 2h",
}

function failed.list.run(args)
  return session.with(args, function(client)
    local rows, count = {}, 0
    local function flush()
      if #rows > 0 then output.table(COLUMNS, rows) end
      rows = {}
    end
    for letter in each(client, args) do
      count = count + 1
      if args.json then
        output.object(LISTED, letter)
      else
        rows[#rows + 1] = letter
        if #rows == ROWS then flush() end
      end
      if count == args.limit then break end
    end
    flush()
    if count == 0 and not args.json then output.line("no dead letters") end
  end)
end

local ID = { "id", doc = "the job's id" }

local function check_ids(args, ids)
  for _, id in ipairs(ids) do
    if not require("naq.core").valid_id(id) then
      exit.usage(("'%s' is not a job's id: 1 to 64 of A-Z a-z 0-9 _ -"):format(id), args.command)
    end
  end
end

local function check_queue(args)
  if args.queue and not require("naq.core").valid_id(args.queue) then
    exit.usage(("'%s' is not a queue name: 1 to 64 of A-Z a-z 0-9 _ -"):format(args.queue), args.command)
  end
end

-- What the job was given stays the text it was.
local function print_json(letter)
  local text = output.encode(SHOWN, letter)
  if letter.args then text = ('%s,"args":%s}'):format(text:sub(1, -2), letter.args) end
  output.line(text)
end

local function print_letter(letter)
  output.fields({
    { "id", letter.id },
    { "job", letter.job },
    { "queue", letter.queue },
    { "priority", letter.priority },
    { "reason", letter.reason, style = "red" },
    { "enqueued", output.time(letter.enqueued_at) },
    { "failed", output.time(letter.failed_at) },
    { "args", letter.args },
    { "error", error_line(letter), style = "red" },
    { "payload", not letter.job and letter.payload or nil },
    { "base64", letter.payload_base64 },
    { "cut", letter.attempts_cut and ("%d earlier attempts"):format(letter.attempts_cut) or nil },
  })
  if #letter.attempts > 0 then job.print_attempts(letter.attempts) end
end

failed.show = {
  summary = "one dead letter",
  description = [[
    Prints a dead letter: the job as it was, why it was given up, and each of its attempts with its
    traceback.]],
  usage = "ID [-q QUEUE]",
  arguments = { ID },
  options = { { "-q --queue", "QUEUE", doc = "its queue, which spares looking for it" } },
  example = "naq failed show 01jd0k3c9m5q8w2x7z4v6b1n3t",
}

function failed.show.run(args)
  check_ids(args, { args.id })
  check_queue(args)
  return session.with(args, function(client)
    local letter = exit.check(client:failed():show(args.id, args.queue))
    if args.json then
      print_json(letter)
    else
      print_letter(letter)
    end
  end)
end

-- retry and discard ------------------------------------------------------------------------------

-- One sentence on standard error; the command goes on with the next one.
local function complain(args, message, code)
  if args.json then
    local line = output.encode({ "code", "message" }, { code = code, message = message })
    io.stderr:write('{"error":', line, "}\n")
  else
    io.stderr:write("naq: ", exit.printable(message), "\n")
  end
end

local UNREACHABLE = { CONNECTION = true, AUTH = true, CLOSED = true, TIMEOUT = true }

-- Do it to one; false when it was refused. Ends the command when the server is not there.
local function one(client, args, what, id, queue)
  local done, message, code = what.act(client:failed(), id, queue)
  if done then
    if args.json then
      output.object({ "id", what.done }, { id = id, [what.done] = true })
    elseif not args.all then
      output.line(("%s: %s"):format(id, what.done))
    end
    return true
  end
  if UNREACHABLE[code] then exit.fail(message, code) end
  complain(args, message, code)
  return false
end

local function some(client, args, what)
  local refused = 0
  for _, id in ipairs(args.id) do
    if not one(client, args, what, id, args.queue) then refused = refused + 1 end
  end
  return refused == 0 and exit.OK or exit.FAILED
end

local function all(client, args, what)
  local done, refused = 0, 0
  local progress = output.isatty(2) and not args.json
  for letter in each(client, args) do
    if one(client, args, what, letter.id, letter.queue) then
      done = done + 1
    else
      refused = refused + 1
    end
    if progress and (done + refused) % 100 == 0 then
      io.stderr:write(("\r%d %s"):format(done, what.done))
    end
  end
  if progress and done + refused >= 100 then io.stderr:write("\r\27[K") end
  if not args.json then
    local rest = refused > 0 and (", %d refused"):format(refused) or ""
    output.line(("%d %s%s"):format(done, what.done, rest))
  end
  return refused == 0 and exit.OK or exit.FAILED
end

-- Discarding all of them, or all of a queue, is one request.
local function purge(client, args)
  local deleted = exit.check(client:failed():purge(args.queue))
  if args.json then
    output.object({ "discarded" }, { discarded = deleted })
  else
    output.line(("%d discarded"):format(deleted))
  end
end

local RETRY = {
  done = "retried",
  act = function(letters, id, queue) return letters:retry(id, queue) end,
}
local DISCARD = {
  done = "discarded",
  act = function(letters, id, queue) return letters:discard(id, queue) end,
}

local function check_selection(args)
  local filter, any = filter_of(args)
  check_queue(args)
  if args.all then
    if #args.id > 0 then exit.usage("either ids or --all", args.command) end
    return filter
  end
  if #args.id == 0 then
    local hint = any and "; with --all the filters say which of them" or ""
    exit.usage("which? ids, or --all" .. hint, args.command)
  end
  for _, name in ipairs({ "reason", "job", "since", "until" }) do
    if args[name] then exit.usage(("--%s belongs to --all"):format(name), args.command) end
  end
  check_ids(args, args.id)
  return filter
end

local function confirmed(args, verb, what)
  if args.yes then return true end
  local which = args.all and ("all %sdead letters%s"):format(
    next((filter_of(args))) and "matching " or "", args.queue and " of " .. args.queue or "")
    or table.concat(args.id, ", ")
  if output.confirm(("%s %s?"):format(verb, which)) then return true end
  io.stderr:write("naq: nothing ", what, "\n")
  return false
end

local IDS = { "id", args = "*", doc = "the jobs' ids" }
local ALL = { "--all", doc = "all of them, or all that the filters below leave" }
local YES = { "-y --yes", doc = "do not ask" }

failed.retry = {
  summary = "run some of them again",
  description = [[
    Runs dead letters again: the same id, the first attempt of as many as its rules allow, its
    history kept. One that was tried again meanwhile, has ended since, or is no job is refused. With
    --all it asks first on a terminal.]],
  usage = "[ID...|--all] [-q QUEUE] [--reason REASON] [--job JOB] [--since T] [--until T] [--yes]",
  arguments = { IDS },
  options = with_filters(ALL, YES),
  example = "naq failed retry --all -q mail --reason timeout",
}

function failed.retry.run(args)
  check_selection(args)
  if args.all and not confirmed(args, "Retry", "retried") then return exit.FAILED end
  return session.with(args, function(client)
    if args.all then return all(client, args, RETRY) end
    return some(client, args, RETRY)
  end)
end

failed.discard = {
  summary = "delete some of them",
  description = [[
    Deletes dead letters. The jobs' records stay and say that they failed, until their time is over.
    Asks first on a terminal.]],
  usage = "[ID...|--all] [-q QUEUE] [--reason REASON] [--job JOB] [--since T] [--until T] [--yes]",
  arguments = { IDS },
  options = with_filters(ALL, YES),
  example = "naq failed discard --all -q mail --until 7d",
}

function failed.discard.run(args)
  local filter = check_selection(args)
  if not confirmed(args, "Discard", "discarded") then return exit.FAILED end
  return session.with(args, function(client)
    if not args.all then return some(client, args, DISCARD) end
    filter.queue = nil
    if next(filter) then return all(client, args, DISCARD) end
    return purge(client, args)
  end)
end

return failed
