local support = require("spec.support")
local core = require("naq.core")
local nats = support.nats

local function config_of(conn, stream)
  return core.decode(assert(conn:request("$JS.API.STREAM.INFO." .. stream, "", 5))).config
end

local function update(conn, config)
  local body = assert(core.encode(config))
  local answer =
    core.decode(assert(conn:request("$JS.API.STREAM.UPDATE." .. config.name, body, 5)))
  assert(not answer.error, answer.error and answer.error.description)
end

describe("conn:ensure_layout()", function()
  local server, conn
  setup(function()
    server = nats.start()
    conn = server:connect()
  end)
  teardown(function()
    conn:close()
    server:stop()
  end)

  it("creates what is missing, and nothing twice", function()
    local dry = assert(conn:ensure_layout({ dry_run = true }))
    assert.equal(15, #dry.created)
    assert.equal(15, #assert(conn:ensure_layout()).created)
    assert.same({ created = {}, differs = {} }, conn:ensure_layout())
  end)

  it("writes the streams of docs/wire.md", function()
    local jobs = config_of(conn, "naq_jobs")
    assert.same({ "naq.q.*.high.*", "naq.q.*.normal.*", "naq.q.*.low.*" }, jobs.subjects)
    assert.equal("workqueue", jobs.retention)
    assert.equal("new", jobs.discard)
    assert.equal(1, jobs.max_msgs_per_subject)
    assert.is_true(jobs.discard_new_per_subject)
    assert.equal(120 * 1000000000, jobs.duplicate_window)
    assert.equal(1, jobs.num_replicas)
    assert.is_true(config_of(conn, "naq_delayed").allow_direct)
    local failed = config_of(conn, "naq_failed")
    assert.equal("limits", failed.retention)
    assert.equal("old", failed.discard)
    assert.equal(30 * 86400 * 1000000000, failed.max_age)
  end)

  it("writes buckets as other clients' key-value APIs do", function()
    local leader = config_of(conn, "KV_naq_leader")
    assert.same({ "$KV.naq_leader.>" }, leader.subjects)
    assert.equal(1, leader.max_msgs_per_subject)
    assert.equal("new", leader.discard)
    assert.is_true(leader.allow_rollup_hdrs and leader.deny_delete and leader.allow_direct)
    assert.equal(5 * 1000000000, leader.max_age)
    assert.equal(5 * 1000000000, leader.duplicate_window)
    assert.equal(120 * 1000000000, config_of(conn, "KV_naq_control").duplicate_window)
  end)

  it("keeps prefixes apart", function()
    assert.equal(15, #assert(conn:ensure_layout({ prefix = "other" })).created)
    assert.equal("other.q.*.high.*", config_of(conn, "other_jobs").subjects[1])
  end)

  it("refuses a stream that differs, with what was found and what is wanted", function()
    local config = config_of(conn, "naq_events")
    config.max_age = 60 * 1000000000
    config.duplicate_window = 60 * 1000000000
    update(conn, config)
    local layout, err, code = conn:ensure_layout()
    assert.is_nil(layout)
    assert.equal("CONFIGURATION", code)
    assert.equal(
      "stream naq_events differs from naq's: max_age: 60000000000 found, 604800000000000 wanted",
      err
    )
    local dry = assert(conn:ensure_layout({ dry_run = true }))
    assert.equal(1, #dry.differs)
    config.max_age = 7 * 86400 * 1000000000
    config.duplicate_window = 120 * 1000000000
    update(conn, config)
    assert(conn:ensure_layout())
  end)

  it("gives dead letters the age and room it is told, and keeps what was made of it since", function()
    assert(conn:ensure_layout({ prefix = "kept", failed_age = 60, failed_bytes = 5000000 }))
    local config = config_of(conn, "kept_failed")
    assert.equal(60 * 1000000000, config.max_age)
    assert.equal(60 * 1000000000, config.duplicate_window)
    assert.equal(5000000, config.max_bytes)
    config.max_age, config.max_bytes = 3600 * 1000000000, 7000000
    update(conn, config)
    assert.same({ created = {}, differs = {} }, conn:ensure_layout({ prefix = "kept" }))
    assert.equal(7000000, config_of(conn, "kept_failed").max_bytes)
    config.retention = nil
    config.max_msgs_per_subject = 5
    update(conn, config)
    assert.equal("CONFIGURATION", select(3, conn:ensure_layout({ prefix = "kept" })))
  end)

  it("reports a TTL that another setting made", function()
    local _, err, code = conn:ensure_layout({ worker_ttl = 7 })
    assert.equal("CONFIGURATION", code)
    assert.truthy(err:find("bucket naq_workers", 1, true))
  end)
end)
