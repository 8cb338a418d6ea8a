-- control.lua -- schedules made and changed by a program: naq run control.lua
local naq = require("naq")
local client = assert(naq.connect())
local reports = client:queue("default")

-- Three runs, a fifth of a second apart.
local schedule = assert(reports:schedule("burst", {
  job = "report",
  args = { kind = "burst" },
  interval = 0.2,
  ["repeat"] = 3,
}))

-- What somebody else changes meanwhile is not overwritten.
local row, message, code = schedule:modify({ args = { kind = "changed" } })
if not row and code == naq.errors.WRONG_REVISION then
  print(message)
  row = assert(schedule:info()) -- look again, then decide
end
print(("burst: %s, %d runs left"):format(row.state, row.remaining))

-- A job for later, moved, then not wanted any more.
local job = assert(reports:enqueue_at("2099-12-31T23:59:59+01:00", "report", { kind = "century" }))
assert(job:reschedule("2100-01-01T00:00:00Z"))
assert(job:cancel())

repeat
  row = assert(schedule:info())
until row.state == "finished"
for _, run in ipairs(assert(schedule:runs())) do
  assert(run:wait(10))
  print(run.id, assert(run:result()).kind)
end
client:close()
