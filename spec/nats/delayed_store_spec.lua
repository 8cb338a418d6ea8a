-- Jobs put into the delayed store: where they stand, under which headers, what is refused.

local core = require("naq.core")
local support = require("spec.support")

local BUCKET_SECONDS = 600

describe("the delayed store", function()
  local at = support.connected.laid_out()
  local conn

  setup(function() conn = at:begin() end)
  teardown(function() at:finish() end)

  local function stored(id, due)
    local subject = ("naq.d.%d.%s"):format(math.floor(due / BUCKET_SECONDS), id)
    return conn:last_msg("naq_delayed", subject)
  end

  it("has a job in the bucket of its time, with its time and its queue", function()
    local due, id = math.floor(core.now()) + 86400.25, core.new_id()
    local seq = assert(conn:put_delayed("naq", "mail", "high", id, due, "{}"))
    local data, info = stored(id, due)
    assert.equal("{}", data)
    assert.equal(seq, info.seq)
    assert.equal(("%d"):format(due * 1000), info.headers["Naq-Due"])
    assert.equal("mail.high", info.headers["Naq-To"])
    assert.equal(id .. ":0", info.headers["Nats-Msg-Id"])
  end)

  it("counts whole milliseconds, and none too early", function()
    local base = math.floor(core.now()) + 86400
    for _, case in ipairs({ { 0.001, 1 }, { 0.0011, 2 }, { 0.999, 999 }, { 0.57, 570 }, { 0.9999, 1000 } }) do
      local id = core.new_id()
      assert(conn:put_delayed("naq", "mail", "low", id, base + case[1], "{}"))
      local _, info = stored(id, base)
      assert.equal(("%d%03d"):format(base + math.floor(case[2] / 1000), case[2] % 1000), info.headers["Naq-Due"])
    end
  end)

  it("has a job whose time has passed in the bucket that is being read", function()
    local id = core.new_id()
    local before = core.now()
    assert(conn:put_delayed("naq", "mail", "normal", id, 1000, "{}", 3))
    local _, info = stored(id, before)
    if type(info) ~= "table" then
      _, info = stored(id, core.now()) -- the next bucket began meanwhile
    end
    assert.equal("1000000", info.headers["Naq-Due"])
    assert.equal(id .. ":3", info.headers["Nats-Msg-Id"])
  end)

  it("takes an id once", function()
    local id, due = core.new_id(), core.now() + 5000
    assert(conn:put_delayed("naq", "mail", "normal", id, due, "{}"))
    local seq, message, code = conn:put_delayed("naq", "mail", "normal", id, due, "{}")
    assert.is_nil(seq)
    assert.equal("DUPLICATE", code)
    assert.truthy(message:find(id, 1, true))
    -- Another hop at the same time: its place is taken.
    assert.equal("DUPLICATE", select(3, conn:put_delayed("naq", "mail", "normal", id, due, "{}", 1)))
  end)

  it("refuses what is no time, no queue, no id", function()
    for _, case in ipairs({
      { "mail", "a", 0 / 0 },
      { "mail", "a", math.huge },
      { "mail", "a", 1e15 },
      { "a.b", "a", 1 },
      { "mail", "a b", 1 },
      { "mail\0", "a", 1 },
    }) do
      local seq, message, code = conn:put_delayed("naq", case[1], "normal", case[2], case[3], "{}")
      assert.is_nil(seq)
      assert.equal("INVALID", code, message)
    end
    assert.has_error(function() conn:put_delayed("naq", "mail", "urgent", "a", 1, "{}") end)
  end)

  it("takes those of many that have a time", function()
    local due = core.now() + 7200
    local list = { { "a" }, { "b", { n = 1 }, { due = due } }, { "c", nil, { due = 1e15 } }, { "d", nil, {} } }
    local ids, refused = assert(conn:enqueue_many(list, { prefix = "naq", queue = "mail" }, function(opts)
      return "images", "low", nil, nil, opts.due
    end))
    local data, info = stored(ids[2], due)
    assert.equal(1, core.decode(data).args.n)
    assert.equal("images.low", info.headers["Naq-To"])
    assert.is_false(ids[3])
    assert.equal("INVALID", refused[3].code)
    assert.truthy(conn:last_msg("naq_jobs", "naq.q.mail.normal." .. ids[1]))
    assert.truthy(conn:last_msg("naq_jobs", "naq.q.images.low." .. ids[4]))
  end)
end)
