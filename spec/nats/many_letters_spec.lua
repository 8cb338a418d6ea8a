-- A hundred thousand dead letters: listed page by page, whatever their number, in the same memory.

local support = require("spec.support")
local eventually = support.eventually

local unpack = table.unpack or unpack -- luacheck: ignore

-- A sanitizer's memory is its own, and its time.
local PLAIN = not support.build:find("san", 1, true)
local FEW, MANY = 2000, PLAIN and 100000 or 20000

local LETTER = '{"v":1,"id":"n%d","queue":"%s","priority":"normal","reason":"%s","failed_at":%d,'
  .. '"error":{"code":"JOB_ERROR","message":"jobs.lua:6: why"},'
  .. '"attempts":[{"attempt":1,"worker":"w","started_at":1,"finished_at":2,"code":"JOB_ERROR",'
  .. '"message":"jobs.lua:6: why","traceback":"stack traceback:\\n\\t[C]: in function error"}],'
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
    process:ends(0)
    local _, lines = process:stdout():gsub("\n", "")
    process:stop()
    return lines, peak
  end

  it("are listed in the memory of two thousand", function()
    for _, form in ipairs({ { "--json" }, { "--json", "--reason", "timeout" }, { "--job", "work" } }) do
      local some, few = list("-q", "few", unpack(form))
      local all, many = list("-q", "many", unpack(form))
      local one_of = form[2] and 1000 or 1
      if form[1] == "--json" then
        assert.same({ FEW / one_of, MANY / one_of }, { some, all })
      else
        assert.is_true(some > FEW and all > MANY) -- and a title now and then
      end
      assert.is_true(not PLAIN or many < 2 * few, ("%d KB, %d KB"):format(many, few))
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
