-- leader.lua URL SECONDS -- starts `naq scheduler`, waits until it is ready, prints how long that took and
-- its memory, then its CPU and wake-ups over so many idle seconds.
local core = require("naq.core")

local url, seconds = arg[1], tonumber(arg[2])
local function read(path)
  local f = io.open(path)
  if not f then return "" end
  local text = f:read("a")
  f:close()
  return text
end
local dir = assert(core.mkdtemp("naq-bench"))
local log = dir .. "/log"
local begun = core.mono()
local pid = assert(core.spawn({ "lua5.4", "bin/naq", "scheduler", "-u", url }, {
  stderr = log,
  die_with_parent = true,
}))
local ready_ms
repeat
  core.sleep(0.005)
  assert(core.wait(pid, 0) == "running", read(log))
  assert(core.mono() - begun < 120, "it does not get ready")
  ready_ms = read(log):match("ready after (%d+) ms")
until ready_ms
local start = core.mono() - begun

local function numbers()
  local stat, switches = read(("/proc/%d/stat"):format(pid)), 0
  local user, system = stat:match("^%d+ %b() %S" .. (" %-?%d+"):rep(10) .. " (%d+) (%d+)")
  local tasks = io.popen("cat /proc/" .. pid .. "/task/*/status")
  for n in tasks:read("a"):gmatch("\nvoluntary_ctxt_switches:%s*(%d+)") do switches = switches + n end
  tasks:close()
  return (user + system) * 10, switches
end
local rss = read(("/proc/%d/status"):format(pid)):match("VmHWM:%s*(%d+)")
local cpu, switches = numbers()
core.sleep(seconds)
local cpu_after, switches_after = numbers()
core.kill(pid, "TERM")
core.wait(pid, 10)
core.rmtree(dir)
print(("ready_ms=%s start_ms=%.0f most_mb=%.1f cpu_ms=%d wakes=%.2f"):format(
  ready_ms, start * 1000, rss / 1024, cpu_after - cpu, (switches_after - switches) / seconds))
