-- Jobs for testing_spec.lua.
local naq = require("naq")

naq.job("double", function(args) return args.n * 2 end)
naq.job("echo", function(args) return args end)
naq.job("note", function(args) table.insert(require("spec.noted"), args) end)
naq.job("nothing", function() end)
naq.job("about", function(_, job)
  return {
    id = job.id, name = job.name, queue = job.queue, attempt = job.attempt, max_retries = job.max_retries,
    enqueued_at = job.enqueued_at, trace = job.trace,
  }
end)
naq.job("flaky", { max_retries = 3, retry_delay = 2 }, function(args, job)
  if job.attempt < args.attempt then error({ message = "attempt " .. job.attempt, code = "NOT_YET" }) end
  return job.attempt
end)
naq.job("breaks", { max_retries = 0 }, function() error("broken") end)
naq.job("refuses", { ignore_on = { "GONE" } }, function() return nil, "away", "GONE" end)
naq.job("unwritable", { max_retries = 0 }, function() return print end)
naq.job("parent", function(args, job)
  for i = 1, args.children do
    assert(job:enqueue("double", { n = i }, { queue = "children" }))
  end
end)
naq.job("snoozes", function(args, job)
  if args.until_time and job.enqueued_at < args.until_time then
    snoozed = (snoozed or 0) + 1 -- luacheck: ignore
    return job:snooze(10)
  end
  return snoozed or 0 -- luacheck: ignore
end)
naq.job("discards", function(_, job) return job:discard("useless") end)
naq.job("spins", { timeout = 0.05, max_retries = 0 }, function()
  while true do
    pcall(function() while true do local _ = {} end end)
  end
end)
naq.job("counts", { max_instructions = 20000, max_retries = 0 }, function()
  local n = 0
  for i = 1, 1e7 do
    n = n + i
  end
  return n
end)
naq.job("sandboxed", { sandbox = true }, function() return { io = io == nil, os = os.execute == nil } end)
naq.job("patches", { max_retries = 0 }, function()
  string.format = nil -- luacheck: ignore
end)
naq.job("forgotten", { result_ttl = 0 }, function() return 1 end)
naq.job("for_ever", function(_, job) assert(job:enqueue("for_ever")) end)
