-- Which job of a queue comes next: high first, and none of the others ever starved.

local spans = require("spec.support.spans")
local support = require("spec.support")
local eventually = support.eventually

local FILE = support.root .. "/spec/nats/span_jobs.lua"

describe("priorities", function()
  local at = support.scene()
  local side
  before_each(function()
    local _
    _, _, side = at:begin()
  end)
  after_each(function() at:finish() end)

  -- So many jobs of each, all there before a worker starts; how many of each began among the first n.
  local function first(n, counts, seconds)
    local priority, total = {}, 0
    for name, count in pairs(counts) do
      local ids = at:enqueue(count, function()
        return { "span", { trail = side.path, seconds = seconds }, { priority = name } }
      end)
      for _, id in ipairs(ids) do
        priority[id] = name
      end
      total = total + count
    end
    at:worker({ jobs = { FILE }, threads = 1 })
    local order
    eventually(function()
      order = select(2, spans.starts(spans.read(side.path)))
      return #order == total, #order
    end, 60, total .. " jobs to begin")
    local among = { high = 0, normal = 0, low = 0 }
    for i = 1, n do
      among[priority[order[i]]] = among[priority[order[i]]] + 1
    end
    return among
  end

  for name, seconds in pairs({ ["quick jobs"] = 0.001, ["slow jobs"] = 0.03 }) do
    it("let high ones go first, and the others have their share of " .. name, function()
      local among = first(96, { high = 120, normal = 30, low = 30 }, seconds)
      assert.is_true(among.high >= 56, among.high .. " high")
      assert.is_true(among.normal >= 6, among.normal .. " normal")
      assert.is_true(among.low >= 6, among.low .. " low")
    end)
  end
end)
