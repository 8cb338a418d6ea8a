-- What leadership costs those who do not lead, while there is nothing to do.

local core = require("naq.core")
local support = require("spec.support")
local eventually = support.eventually

local SECONDS = 12

describe("workers with nothing to do", function()
  local at = support.scene()
  before_each(function() at:begin() end)
  after_each(function() at:finish() end)

  -- Voluntary switches of all threads: each is a sleep that ended.
  local function wakes(worker)
    local pipe = assert(io.popen(("cat /proc/%d/task/*/status"):format(worker.pid)))
    local n = 0
    for one in pipe:read("*a"):gmatch("\nvoluntary_ctxt_switches:%s*(%d+)") do
      n = n + tonumber(one)
    end
    pipe:close()
    return n
  end

  local function says(worker, what)
    eventually(function() return worker:log():find(what, 1, true) end, 20, "'" .. what .. "' in its log")
  end

  it("wake at most twice a second more than those without a scheduler, unless they lead", function()
    local leader = at:worker({ name = "leader" })
    says(leader, "ready after")
    local follower, plain = at:worker({ name = "follower" }), at:worker({ args = { "--no-scheduler" } })
    says(follower, "leads")
    says(plain, "ready, threads")
    local before, before_plain = wakes(follower), wakes(plain)
    core.sleep(SECONDS)
    local more = (wakes(follower) - before) - (wakes(plain) - before_plain)
    assert.is_true(more / SECONDS <= 2, ("%.1f a second"):format(more / SECONDS))
    assert.matches("^leader%-", at.client:leader().leader)
  end)
end)
