-- A hundred thousand dead letters: listed page by page, whatever their number, in the same memory.

local core = require("naq.core")
local support = require("spec.support")
local eventually = support.eventually

-- A sanitizer's memory is its own, and its time.
local PLAIN = not support.build:find("san", 1, true)
local FEW, MANY = 2000, PLAIN and 100000 or 20000

local LETTER = '{"v":1,"id":"n%d","queue":"%s","priority":"normal","reason":"%s","failed_at":%d,"error":{"code":"JOB_ERROR",'
  .. '"message":"jobs.lua:6: why"},"attempts":[{"attempt":1,"worker":"w","started_at":1,"finished_at":2,'
  .. '"code":"JOB_ERROR","message":"jobs.lua:6: why","traceback":"stack traceback:\\n\\t[C]: in function error"}],'
  .. '"payload":{"v":1,"job":"work","args":{"n":%d}}}'

describe("a hundred thousand dead letters", function()
  local server, client
  local function fill(queue, count)
    local window = assert(client.conn:window())
    for i = 1, count do
      local reason = i % 1000 == 0 and "timeout" or "failed"
      assert(window:publish(("naq.f.%s.n%d"):format(queue, i), LETTER:format(i, queue, reason, i, i)))
    end
    assert.equal(count, (assert(window:await(60))))
    window:close()
  end
  setup(function()
    server = support.nats.start()
    client = server:client()
    assert(client:ensure_layout())
    fill("few", FEW)
    fill("many", MANY)
  end)
  teardown(function()
    support.process.stop_all()
    client:close()
    server:stop()
  end)

  -- Lines that `naq failed list` prints, and the most memory it had, in KB.
  local function list(...)
    local process = support.process.start({ "failed", "list", "-u", server.url, ... })
    local peak = 0
    eventually(function()
      local f = io.open(("/proc/%d/status"):format(process.pid), "rb")
      local kb = f and f:read("*a"):match("VmHWM:%s*(%d+)")
      if f then f:close() end
      peak = math.max(peak, tonumber(kb) or 0)
      return process:wait(0) ~= "running"
    end, 120, "the list to end")
    assert.same({ "exited", 0 }, { process:wait() }, process:log())
    local _, lines = process:stdout():gsub("\n", "")
    process:stop()
    return lines, peak
  end

  it("are listed in the memory of two thousand", function()
    local few, many, lines = {}, {}, nil
    lines, few[1] = list("-q", "few", "--json")
    assert.equal(FEW, lines)
    lines, many[1] = list("-q", "many", "--json")
    assert.equal(MANY, lines)
    _, few[2] = list("-q", "few")
    lines, many[2] = list("-q", "many")
    assert.is_true(lines > MANY)
    _, few[3] = list("--job", "work", "-q", "few", "--reason", "crashed")
    lines, many[3] = list("--job", "work", "--reason", "timeout", "--json")
    assert.equal((FEW + MANY) / 1000, lines)
    for i = 1, 3 do
      assert.is_true(not PLAIN or many[i] < 2 * few[i], ("%d KB, %d KB"):format(many[i], few[i]))
    end
  end)

  it("are paged through from any place, each once", function()
    local letters = client:failed()
    local page, seen, pages = nil, 0, 0
    repeat
      page = assert(letters:list({ queue = "many", limit = 5000, after = page and page.next }))
      for i, letter in ipairs(page) do
        assert(letter.id == "n" .. seen + i, letter.id)
      end
      seen, pages = seen + #page, pages + 1
    until not page.next
    assert.same({ MANY, MANY / 5000 }, { seen, pages })
    assert.equal(MANY, letters:count("many"))
    assert.equal(MANY, letters:purge("many"))
    assert.equal(FEW, letters:count())
  end)
end)
