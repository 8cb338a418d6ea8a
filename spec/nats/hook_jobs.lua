-- Hooks that write down what they see, for hooks_spec.lua: args.notes is the file; args.fail names the hook
-- that is to fail.
local naq = require("naq")

local function note(job, args, text)
  job.notes = job.notes or {}
  table.insert(job.notes, text)
  job.given = args or job.given
end

local function write(job, text)
  local f = assert(io.open(job.given.notes, "ab"))
  f:write(job.id, " ", text, "\n")
  f:close()
end

local function fails(job, name)
  if type(job.given) == "table" and job.given.fail == name then
    error({ message = name .. " fails", code = "HOOK" })
  end
end

local function noted(job) return type(job.given) == "table" and job.given.notes end

naq.before(function(job, args)
  note(job, args, "before 1")
  leaked = (leaked or 0) + 1 -- luacheck: ignore
  job.leaked = leaked -- luacheck: ignore
  fails(job, "before 1")
end)
naq.before(function(job, args)
  note(job, args, "before 2")
  fails(job, "before 2")
end)

naq.around(function(job, next)
  note(job, nil, "around 1 in")
  local result = next()
  note(job, nil, "around 1 out")
  fails(job, "around 1")
  if type(job.given) == "table" and job.given.replace then return "replaced" end
  return result
end)
naq.around(function(job, next)
  note(job, nil, "around 2 in")
  if type(job.given) == "table" then
    if job.given.skip then return end
    if job.given.twice then next() end
    if job.given.swallow then
      pcall(next)
      return
    end
    if job.given.forever then
      while true do
        local _ = {}
      end
    end
  end
  next()
  note(job, nil, "around 2 out")
end)

naq.after(function(job, ok, result, code)
  note(job, nil, "after 1")
  if noted(job) then
    local seen = table.concat(job.notes, ", ")
    write(job, ("after 1 %s %s %s | %s"):format(tostring(ok), tostring(result), tostring(code), seen))
  end
end)
naq.after(function(job, ok, result, code)
  note(job, nil, "after 2")
  if noted(job) then write(job, ("after 2 %s %s %s"):format(tostring(ok), tostring(result), tostring(code))) end
  fails(job, "after 2")
end)

naq.job("answer", function(args, job)
  note(job, args, "job")
  return "answer"
end)
naq.job("notes", function(_, job)
  local own = {}
  for i, text in ipairs(job.notes) do
    own[i] = text
  end
  return own
end)
naq.job("leaked", function(_, job) return job.leaked end)
naq.job("breaks", { max_retries = 0 }, function()
  local function deep() error({ message = "broken", code = "BROKEN" }) end
  deep()
end)
naq.job("breaks_text", { max_retries = 0 }, function() error("plain") end)
naq.job("returns_error", { max_retries = 0 }, function() return nil, "why", "WHY" end)
naq.job("snoozes", function(args, job)
  local f = io.open(args.notes .. ".snoozed")
  if f then
    f:close()
    return "awake"
  end
  assert(io.open(args.notes .. ".snoozed", "wb")):close()
  return job:snooze(0.05)
end)
naq.job("discards", function(_, job) return job:discard("no use") end)
naq.job("sandboxed", { sandbox = true }, function(_, job) return job.notes[1] end)
naq.job("late", { max_retries = 0 }, function() naq.before(print) end)
naq.job("boxed_timeout", { timeout = 0.1, max_retries = 0 }, function() return 1 end)
naq.job("child", function(_, job) return job.trace or naq.null end)
naq.job("parent", function(args, job)
  local child = assert(job:enqueue("child", nil, { queue = job.queue, trace = args and args.trace }))
  return { own = job.trace or naq.null, child = child.id }
end)
naq.job("fail_with_trace", { retry_delay = 0 }, function(_, job)
  if job.attempt == 1 then error("once") end
  return job.trace
end)
naq.job("spans", function(_, job)
  job.trace = "00-0af7651916cd43dd8448eb211c80319c-00000000000000ff-01"
  return assert(job:enqueue("child", nil, { queue = job.queue })).id
end)
