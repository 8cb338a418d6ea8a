-- The names of queues, out of what a server says of a stream: one that is made up here, whose pages hold ten
-- subjects instead of a hundred thousand.

local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local queue_names = require("naq.queue_names")

local PAGE = 10

describe("the names of queues", function()
  local jobs, consumers, pages, before_page
  local call = jetstream_api.call

  local function matching(filter)
    local pattern = "^" .. filter:gsub("%.>$", "%%..+"):gsub("%*", "[^.]+") .. "$"
    local found = {}
    for _, subject in ipairs(jobs) do
      if subject:find(pattern) then found[#found + 1] = subject end
    end
    table.sort(found)
    return found
  end

  local function answer(_, api, object, body)
    if object == "naq_delayed" then return nil, "none", errors.KEY_NOT_FOUND end
    if api == "CONSUMER.LIST" then return { consumers = consumers, total = #consumers } end
    if api == "CONSUMER.NAMES" then return { consumers = {}, total = 0 } end
    local state = { messages = #jobs, first_seq = 1, last_seq = #jobs }
    if not body then return { state = state } end
    if body.offset < 1000000 then
      pages = pages + 1
      before_page(pages)
    end
    local found = matching(body.subjects_filter)
    state.subjects = {}
    for i = body.offset + 1, math.min(body.offset + PAGE, #found) do
      state.subjects[found[i]] = 1
    end
    return { state = state, total = #found }
  end

  local conn = {
    kv_entries = function() return nil, "none", errors.CONFIGURATION end,
    get_msg = function(_, _, seq)
      local subject = jobs[math.max(1, seq)]
      if subject then return { subject = subject, seq = seq, timestamp = 0 } end
      return nil, "none", errors.KEY_NOT_FOUND
    end,
  }

  before_each(function()
    jobs, consumers, pages, before_page = {}, {}, 0, function() end
    jetstream_api.call = answer
  end)
  after_each(function() jetstream_api.call = call end)

  local function put(name, count, priority)
    for _ = 1, count do
      local subject = ("naq.q.%s.%s.%06d"):format(name, priority or "normal", math.random(999999))
      table.insert(jobs, math.random(#jobs + 1), subject)
    end
  end

  local function list() return assert(queue_names.list({ conn = conn, prefix = "naq", opened = {} })) end

  it("are found in as many pages as it takes, not as many as there are", function()
    put("m", 2000)
    put("zz", 1)
    put("a", 1)
    put("a-b", 1) -- before a, as its subjects are
    assert.same({ "a", "a-b", "m", "zz" }, list())
    assert.is_true(pages <= 2, pages)
  end)

  it("are counted where a message gives them away, and nothing is listed", function()
    put("m", 2000)
    assert.same({ "m" }, list())
    assert.equal(0, pages)
  end)

  it("are those of consumers where these count all jobs", function()
    put("m", 200)
    consumers = { { name = "m_normal", num_pending = 150, num_ack_pending = 50 }, { name = "x_low" } }
    assert.same({ "m", "x" }, list())
    assert.equal(0, pages)
  end)

  it("are all there, whatever stands on them", function()
    for _ = 1, 80 do
      jobs, pages = {}, 0
      local all = {}
      for i = 1, math.random(30) do
        local name = ("%s%d"):format(("ab-_Z"):rep(3):sub(math.random(9), math.random(9, 12)), i)
        all[#all + 1] = name
        put(name, math.random(4) == 1 and math.random(100) or 1, ({ "high", "normal", "low" })[math.random(3)])
      end
      table.sort(all)
      assert.same(all, list())
    end
  end)

  it("are not skipped when jobs go away between two pages", function()
    for _ = 1, 40 do
      jobs, pages = {}, 0
      put("m", 300)
      local lasting = {}
      for i = 1, 15 do
        lasting[i] = ("k%02d"):format(i + (i > 7 and 50 or 0))
        put(lasting[i], 1)
        put(("n%02d"):format(i), 1)
      end
      local when, kept = math.random(2, 4), math.random(10)
      before_page = function(page)
        for i = page == when and #jobs or 0, 1, -1 do
          if jobs[i]:find("^naq%.q%.m%.") and math.random(10) >= kept then table.remove(jobs, i) end
        end
      end
      local found = {}
      for _, name in ipairs(list()) do
        found[name] = true
      end
      for i, name in ipairs(lasting) do
        assert.is_true(found[name], name)
        assert.is_true(found[("n%02d"):format(i)])
      end
    end
  end)
end)
