-- `naq queue pause`, `resume`, `set`: what is set for a queue, for all its workers; `peek` and `delete`:
-- the jobs that wait on it, one by one.

local exit = require("naq.cli.exit")
local output = require("naq.cli.output")
local parser = require("naq.cli.parser")
local session = require("naq.cli.session")

local queue = {}

--- The queue of that name. A name that cannot be a queue is the user's mistake, not the server's answer.
---@param client naq.Client
---@param name string
---@param command string
---@return naq.Queue
function queue.open(client, name, command)
  if not require("naq.core").valid_id(name) then
    exit.usage(("'%s' is not a queue name: 1 to 64 of A-Z a-z 0-9 _ -"):format(name), command)
  end
  return client:queue(name)
end

local function set_paused(args, method, paused, said)
  return session.with(args, function(client)
    for _, name in ipairs(args.queue) do
      local opened = queue.open(client, name, args.command)
      exit.check(opened[method](opened))
      if args.json then
        output.object({ "queue", "paused" }, { queue = name, paused = paused })
      else
        output.line(("%s: %s"):format(name, said))
      end
    end
  end)
end

queue.pause = {
  summary = "start no more jobs of some queues",
  description = [[
    Workers stop taking jobs of the queues within a second and give back what they fetched and had
    not begun; jobs that run go on to their end. The queues still take jobs. Workers that start
    later, and restarts of everything, change nothing about it: only `naq queue resume` does.]],
  usage = "QUEUE...",
  arguments = { { "queue", args = "+", doc = "the queues" } },
  example = "naq queue pause images",
}

function queue.pause.run(args) return set_paused(args, "pause", true, "paused") end

queue.resume = {
  summary = "start the jobs of paused queues again",
  description = "Ends what `naq queue pause` began: workers go on within a second.",
  usage = "QUEUE...",
  arguments = { { "queue", args = "+", doc = "the queues" } },
  example = "naq queue resume images",
}

function queue.resume.run(args) return set_paused(args, "resume", false, "resumed") end

-- "concurrency=8" as a name and a value; empty, or none: unset.
local function assignment(word, command)
  local core = require("naq.core")
  local declaration = require("naq.control").DECLARATION
  local name, text = word:match("^([%w_]+)=(.*)$")
  if not name then exit.usage(("'%s' is not NAME=VALUE"):format(word), command) end
  local declared = declaration[name]
  if not declared then exit.usage(require("naq.options").unknown(declaration, name), command) end
  if text == "" or text == "none" then return name, core.null end
  local value = require("naq.quantity").from_text(declared.type, text)
  local problem = require("naq.options").problem(declared, value)
  if problem then exit.usage(("%s %s"):format(name, problem), command) end
  return name, value
end

local function print_settings(args, name, settings)
  local names = {}
  for key in pairs(settings) do
    names[#names + 1] = key
  end
  table.sort(names)
  if args.json then
    local keys, object = { "queue" }, { queue = name }
    for _, key in ipairs(names) do
      keys[#keys + 1], object[key] = key, settings[key]
    end
    return output.object(keys, object)
  end
  local encode, words = require("naq.core").encode, {}
  for i, key in ipairs(names) do
    local value = settings[key]
    words[i] = ("%s=%s"):format(key, type(value) == "string" and value or exit.check(encode(value)))
  end
  output.line(("%s: %s"):format(name, #words > 0 and table.concat(words, " ") or "nothing is set"))
end

queue.set = {
  summary = "limits and other settings of a queue",
  description = [[
    Changes settings of a queue, for all its workers, which follow within a second: concurrency
    (jobs that run at the same time, on all workers together), rate_limit (jobs that start: 100/s,
    600/m, 1000/h), ack_wait (seconds a worker may be silent before its jobs move), paused. What is
    not named stays; NAME= or NAME=none unsets, and then the workers' configuration
    (queues.configs) holds again. Prints all that is set; without settings, that alone.]],
  usage = "QUEUE [NAME=VALUE...]",
  arguments = {
    { "queue", doc = "the queue" },
    { "setting", args = "*", doc = "what to change" },
  },
  example = "naq queue set images concurrency=8 rate_limit=100/s ack_wait=60",
}

function queue.set.run(args)
  local changes = {}
  for _, word in ipairs(args.setting) do
    local name, value = assignment(word, args.command)
    changes[name] = value
  end
  return session.with(args, function(client)
    local opened = queue.open(client, args.queue, args.command)
    local settings
    if next(changes) then
      settings = exit.check(opened:configure(changes))
    else
      settings = exit.check(opened:settings())
    end
    print_settings(args, args.queue, settings)
  end)
end

local WAITING = { "id", "job", "queue", "priority", "attempt", "enqueued_at", "args", "seq" }

local function args_of(row)
  if row.args == nil then return nil end
  return (exit.check(require("naq.core").encode(row.args)))
end

local COLUMNS = {
  { title = "SEQ", value = function(row) return ("%d"):format(row.seq) end, right = true },
  { title = "ID", value = function(row) return row.id end },
  { title = "JOB", value = function(row) return row.job end, cut = true },
  { title = "PRIORITY", value = function(row) return row.priority end },
  { title = "ENQUEUED", value = function(row) return output.time(row.enqueued_at) end },
  { title = "ARGS", value = args_of, cut = true },
}

local function after(text)
  return text:match("^%d+$") and #text < 16 and tonumber(text) or text
end

queue.peek = {
  summary = "the jobs that wait on a queue",
  description = [[
    Lists jobs that wait on the queue, in the order in which they were stored, without touching
    them. --after goes on behind a job that was listed: its number (SEQ), or its id while it waits.]],
  usage = "QUEUE [--limit N] [--after ID|SEQ]",
  arguments = { { "queue", doc = "the queue" } },
  options = {
    { "--limit", "N", convert = parser.count, doc = "at most so many (50)" },
    { "--after", "ID", convert = after, doc = "behind this one" },
  },
  example = "naq queue peek images --limit 10",
}

function queue.peek.run(args)
  return session.with(args, function(client)
    local opened = queue.open(client, args.queue, args.command)
    local rows = exit.check(opened:peek(args.limit, args.after))
    if args.json then
      for _, row in ipairs(rows) do
        output.object(WAITING, row)
      end
    elseif #rows == 0 then
      output.line("no job waits")
    else
      output.table(COLUMNS, rows)
    end
  end)
end

queue.delete = {
  summary = "take waiting jobs off a queue",
  description = [[
    Removes jobs that wait on the queue, as if they had never been enqueued. One that a worker has
    got already is not touched: cancel it instead.]],
  usage = "QUEUE ID...",
  arguments = { { "queue", doc = "the queue" }, { "id", args = "+", doc = "the jobs" } },
  example = "naq queue delete images 01jd0k3c9m5q8w2x7z4v6b1n3t",
}

function queue.delete.run(args)
  return session.with(args, function(client)
    local opened = queue.open(client, args.queue, args.command)
    for _, id in ipairs(args.id) do
      exit.check(opened:delete(id))
      if args.json then
        output.object({ "id", "deleted" }, { id = id, deleted = true })
      else
        output.line(id .. ": deleted")
      end
    end
  end)
end

return queue
