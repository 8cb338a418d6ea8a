-- naq failed list, show, retry, discard; naq job retry.

local core = require("naq.core")
local support = require("spec.support")
local naq, eventually = support.naq, support.eventually

local JOBS = support.root .. "/spec/nats/jobs.lua"

describe("naq failed", function()
  local server, client, queue, gate, dir, ids
  setup(function()
    server = support.nats.start()
    client = server:client()
    assert(client:ensure_layout())
    dir = assert(core.mkdtemp("naq-spec-failed"))
  end)
  teardown(function()
    support.process.stop_all()
    client:close()
    server:stop()
    core.rmtree(dir)
  end)

  local function serve()
    return support.start_worker({ url = server.url, queues = { queue.name }, jobs = { JOBS }, threads = 1 })
  end

  -- Three dead letters: two that need a file, one that was discarded.
  before_each(function()
    queue = client:queue(support.fresh_name())
    gate = dir .. "/" .. queue.name
    local jobs = assert(queue:enqueue_many({
      { "needs_file", { gate = gate, n = 1, float = 1.0 } },
      { "needs_file", { gate = gate, n = 2 } },
      { "discard" },
    }))
    local worker = serve()
    ids = {}
    for i, job in ipairs(jobs) do
      assert.equal("failed", job:wait(20))
      ids[i] = job.id
    end
    worker:finish() -- not before its last acks
  end)
  after_each(function() assert(client:failed():purge()) end)

  local function run(...) return naq("-u", server.url, ...) end

  local function ok(...)
    local status, out, errors = run(...)
    assert.equal(0, status, errors)
    return out
  end

  local function objects(text)
    local list = {}
    for line in text:gmatch("[^\n]+") do
      list[#list + 1] = assert(core.decode(line))
    end
    return list
  end

  local function count() return assert(client:failed():count(queue.name)) end

  it("list prints {id, job, queue, reason, attempts, failed_at, error} a line", function()
    local list = objects(ok("failed", "list", "-q", queue.name, "--json"))
    assert.equal(3, #list)
    local by_id = {}
    for _, letter in ipairs(list) do
      by_id[letter.id] = letter
    end
    local letter = by_id[ids[1]]
    local members = {}
    for name in pairs(letter) do
      members[#members + 1] = name
    end
    table.sort(members)
    assert.same({ "attempts", "error", "failed_at", "id", "job", "queue", "reason" }, members)
    assert.same({ "needs_file", queue.name, "failed" }, { letter.job, letter.queue, letter.reason })
    assert.equal(2, #letter.attempts)
    assert.same({ "NO_FILE", "no file yet" }, { letter.error.code, letter.error.message })
    assert.is_true(math.abs(letter.failed_at - core.now()) < 60)
  end)

  it("list filters", function()
    local function lines(...) return #objects(ok("failed", "list", "--json", "-q", queue.name, ...)) end
    assert.equal(1, lines("--reason", "discarded"))
    assert.equal(2, lines("--job", "needs_file"))
    assert.equal(1, lines("--limit", "1"))
    assert.equal(3, lines("--since", "1h"))
    assert.equal(0, lines("--until", "1h"))
    assert.equal(3, lines("--since", "2001-01-01", "--until", "2101-01-01T00:00:00+02:00"))
    assert.equal(0, lines("--since", tostring(math.floor(core.now() + 1000))))
    assert.equal(0, #objects(ok("failed", "list", "--json", "-q", support.fresh_name())))
  end)

  it("list prints a table for people, or that there is nothing", function()
    local out = ok("failed", "list", "-q", queue.name)
    assert.matches("^ID +JOB +QUEUE +REASON +ATTEMPTS +FAILED +ERROR", out)
    assert.matches(ids[1] .. " +needs_file +" .. queue.name .. " +failed +2 +%S+ +NO_FILE: no file yet", out)
    assert.equal("no dead letters\n", ok("failed", "list", "-q", support.fresh_name()))
  end)

  it("show prints one whole, its arguments as they were", function()
    local out = ok("failed", "show", ids[1], "--json")
    assert.matches('"args":{"', out, 1, true)
    assert.matches('"float":1.0', out, 1, true)
    local letter = core.decode(out)
    assert.equal(ids[1], letter.id)
    assert.equal(2, #letter.attempts)
    out = ok("failed", "show", ids[1], "-q", queue.name)
    assert.matches("reason +failed", out)
    assert.matches("Failed attempts\n  1 .-NO_FILE: no file yet.-stack traceback:.-  2 ", out)
    local status, _, errors = run("failed", "show", "nobody", "--json")
    assert.equal(1, status)
    assert.equal("JOB_NOT_FOUND", core.decode(errors).error.code)
  end)

  it("retry runs those that are named, and goes on past one that is refused", function()
    local status, out, errors = run("failed", "retry", ids[1], "nobody", ids[2])
    assert.equal(1, status)
    assert.equal(("%s: retried\n%s: retried\n"):format(ids[1], ids[2]), out)
    assert.matches("naq: job nobody: there is no dead letter of it\n", errors, 1, true)
    assert.equal(1, count())
    assert(io.open(gate, "w")):close()
    local worker = serve()
    assert.equal("completed", client:job(ids[1]):wait(20))
    assert.equal("completed", client:job(ids[2]):wait(20))
    worker:finish()
  end)

  it("retry --all takes what the filters leave", function()
    assert.equal("2 retried\n", ok("failed", "retry", "--all", "-q", queue.name, "--job", "needs_file"))
    assert.equal(1, count())
    local lines = objects(ok("failed", "retry", "--all", "-q", queue.name, "--json"))
    assert.same({ { id = ids[3], retried = true } }, lines)
    assert.equal(0, count())
    assert.equal(3, assert(queue:stats()).pending)
  end)

  it("discard deletes", function()
    assert.equal(ids[1] .. ": discarded\n", ok("failed", "discard", ids[1]))
    assert.equal(2, count())
    assert.equal("1 discarded\n", ok("failed", "discard", "--all", "--reason", "discarded"))
    assert.equal('{"discarded":1}\n', ok("failed", "discard", "--all", "-q", queue.name, "--json"))
    assert.equal(0, count())
    assert.equal("failed", client:job(ids[1]):status())
  end)

  it("is told apart from a mistake", function()
    for _, words in ipairs({
      { "failed", "retry" },
      { "failed", "discard", "--reason", "failed" },
      { "failed", "retry", "--all", ids[1] },
      { "failed", "retry", ids[1], "--since", "1h" },
      { "failed", "retry", "a.b" },
      { "failed", "list", "--reason", "bad luck" },
      { "failed", "list", "--since", "soon" },
      { "failed", "list", "--since", "2026-02-30" },
      { "failed", "list", "-q", "a b" },
      { "failed", "show", "a.b" },
      { "failed" },
    }) do
      local status, out, errors = run((table.unpack or unpack)(words)) -- luacheck: ignore
      assert.equal(2, status, table.concat(words, " ") .. "\n" .. out .. errors)
      assert.matches("^naq: [^\n]+\nsee: naq ", errors)
    end
    assert.equal(3, count())
  end)

  it("job retry runs one again, and says why not", function()
    assert.equal(ids[1] .. ": retried\n", ok("job", "retry", ids[1]))
    local status, _, errors = run("job", "retry", ids[1], "--json")
    assert.equal(1, status)
    assert.equal("WRONG_STATE", core.decode(errors).error.code)
    assert(io.open(gate, "w")):close()
    local worker = serve()
    assert.equal("completed", client:job(ids[1]):wait(20))
    worker:finish()
    status, _, errors = run("job", "retry", ids[1])
    assert.equal(1, status)
    local why = "it has completed; only failed and cancelled jobs and waiting retries are run again"
    assert.matches(why, errors, 1, true)
    assert.equal(1, (run("job", "retry", "nobody")))
    assert.equal(2, (run("job", "retry", "a.b")))
    eventually(function() return assert(queue:stats()).running == 0 end)
  end)
end)

describe("moment.parse()", function()
  local moment = require("naq.cli.moment")
  it("reads epoch seconds, ISO 8601 and how long ago", function()
    local cases = {
      ["0"] = 0, ["1767225600.5"] = 1767225600.5, ["1970-01-01"] = 0, ["2026-01-01"] = 1767225600,
      ["2026-01-01T01:00:00+01:00"] = 1767225600, ["2026-01-01 00:00Z"] = 1767225600,
      ["2024-02-29T12:00:00.25"] = 1709208000.25, ["2000-03-01"] = 951868800, ["2100-03-01"] = 4107542400,
      ["90s"] = 910, ["1m"] = 940, ["0.25m"] = 985,
    }
    for text, expected in pairs(cases) do
      assert.equal(expected, moment.parse(text, 1000), text)
    end
  end)

  it("refuses the rest", function()
    for _, text in ipairs({
      "", "1e5", "0x10", "soon", "2026-13-01", "2026-00-01", "2025-02-29", "2100-02-29", "2026-01-01T24:00",
      "2026-01-01T00:60", "2026-01-01T00:00:61", "2026-01-01T00:00+25:00", "2026-01-01x", "5 m", "nan", "inf",
    }) do
      assert.is_nil(moment.parse(text), text)
    end
  end)
end)
