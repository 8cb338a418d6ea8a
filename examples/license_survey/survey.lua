-- survey.lua -- which licences are on this machine, and in how many packages?
--
--   naq run examples/license_survey/survey.lua [DIR] [--all]
--
-- One job for every DIR/*/copyright (DIR: /usr/share/doc) goes to the queue "survey"; jobs.lua, in a
-- worker, does the reading. This program puts the jobs there, waits for their ends and adds up their
-- results. The table has the most frequent licences, with --all every one.

local naq = require("naq")
local core = require("naq.core")

local ROWS = 25
local PATIENCE = 60 -- seconds without a single job ending before this gives up

local function give_up(message)
  io.stderr:write("survey: ", message, "\n")
  os.exit(1, true)
end

local function command_line()
  local dir, all = "/usr/share/doc", false
  for _, word in ipairs(arg) do
    if word == "--all" then
      all = true
    else
      dir = word
    end
  end
  return dir, all
end

local function copyright_files(dir)
  local quoted = "'" .. dir:gsub("'", "'\\''") .. "'"
  local list = {}
  local find = io.popen("find -L " .. quoted .. " -mindepth 2 -maxdepth 2 -name copyright | sort")
  for path in find:lines() do
    list[#list + 1] = path
  end
  find:close()
  return list
end

-- The bar stands on standard error, so that the table can go into a file or a pipe.
local on_terminal = core.isatty(2)
local drawn_at = 0

local function draw_bar(done, total, started)
  local now = core.mono()
  if not on_terminal or (done < total and now - drawn_at < 0.05) then return end
  drawn_at = now
  local width = 40
  local filled = math.floor(done / total * width)
  io.stderr:write(("\r%s%s %d/%d jobs, %.0f/s "):format(
    ("#"):rep(filled),
    ("."):rep(width - filled),
    done,
    total,
    done / math.max(now - started, 1e-6)
  ))
end

local function clear_bar()
  if on_terminal then io.stderr:write("\r\27[K") end
end

local function enqueue(client, files)
  local list = {}
  for i, path in ipairs(files) do
    list[i] = { "survey_copyright", { path = path } }
  end
  local jobs, errors = client:queue("survey"):enqueue_many(list)
  if not jobs then give_up(errors) end
  for i, problem in pairs(errors) do
    give_up(("%s was not queued: %s"):format(files[i], problem.message))
  end
  return jobs
end

local function wait_for_all(jobs)
  local started = core.mono()
  for i, job in ipairs(jobs) do
    local state, why, code = job:wait(PATIENCE)
    if code == "TIMEOUT" then
      give_up(("no end of a job for %d s: is a worker serving the queue \"survey\"?"):format(PATIENCE))
    end
    if not state then give_up(why) end
    draw_bar(i, #jobs, started)
  end
  clear_bar()
end

--- Adds up what became of the jobs; `failures` has those that returned nothing.
local function collect(jobs, files)
  local sums = { retries = 0, nameless = 0, count = {}, failures = {}, ended_at = 0 }
  for i, job in ipairs(jobs) do
    local info, why = job:info()
    if not info then give_up(why) end
    sums.retries = sums.retries + info.attempt - 1
    sums.ended_at = math.max(sums.ended_at, info.finished_at)
    if info.state == "completed" then
      local licences = info.result.licences
      if #licences == 0 then sums.nameless = sums.nameless + 1 end
      for _, licence in ipairs(licences) do
        sums.count[licence] = (sums.count[licence] or 0) + 1
      end
    else
      table.insert(sums.failures, { path = files[i], message = info.error.message, code = info.error.code })
    end
  end
  return sums
end

local function print_row(licence, packages) print(("%-32s %8s"):format(licence, packages)) end

local function print_licences(sums, all)
  local names = {}
  for name in pairs(sums.count) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    local na, nb = sums.count[a], sums.count[b]
    return na > nb or na == nb and a < b
  end)
  print_row("licence", "packages")
  print(("-"):rep(41))
  local shown = all and #names or math.min(#names, ROWS)
  for i = 1, shown do
    print_row(names[i], sums.count[names[i]])
  end
  if shown < #names then print(("and %d licences more (--all prints them)"):format(#names - shown)) end
  if sums.nameless > 0 then print_row("none recognised", sums.nameless) end
  if #sums.failures > 0 then print_row("failed jobs", #sums.failures) end
end

local function print_failures(failures)
  for _, failure in ipairs(failures) do
    print(("  %s: %s (%s)"):format(failure.path, failure.message, failure.code))
  end
end

local dir, all = command_line()
local files = copyright_files(dir)
if #files == 0 then give_up(("no copyright files in %s/*/"):format(dir)) end

local client, why = naq.connect()
if not client then give_up(why) end
local started_at = core.now()
local jobs = enqueue(client, files)
wait_for_all(jobs)
local sums = collect(jobs, files)
client:close()

print_licences(sums, all)
print()
-- From the first enqueue to the last job's end, as the worker noted it.
local seconds = sums.ended_at - started_at
print(("%d jobs in %.2f s: %.0f jobs/s, %d retries, %d failures"):format(
  #jobs,
  seconds,
  #jobs / seconds,
  sums.retries,
  #sums.failures
))
print_failures(sums.failures)
