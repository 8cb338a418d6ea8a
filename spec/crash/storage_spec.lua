-- A store that is full: nothing is accepted that cannot be kept, nothing is acked whose end cannot be
-- kept, and all goes on when there is room again.

local support = require("spec.support")
local nats, eventually, trail = support.nats, support.eventually, support.trail

local MARKS = support.root .. "/spec/crash/jobs/marks.lua"

-- An account's limit can be lowered while the server runs, below what its streams may grow to.
local function accounts(max_file)
  return {
    ("accounts { A { jetstream { max_file: %s }, users [ { user: a, password: a } ] } }"):format(max_file),
    "no_auth_user: a",
  }
end

describe("a store without room", function()
  local server, client, queue, side
  setup(function()
    server = nats.start({ config = accounts("4GB") })
    client = server:client()
    assert(client:ensure_layout())
    queue = client:queue(support.fresh_name())
    side = trail.new()
  end)
  teardown(function()
    support.process.stop_all()
    client:close()
    server:stop()
    side:remove()
  end)

  it("refuses jobs with STORAGE_FULL, and ends no job whose record it cannot keep", function()
    local worker = support.start_worker({
      url = server.url,
      queues = { queue.name },
      jobs = { MARKS },
      threads = 2,
      env = { NAQ_DEFAULT_ACK_WAIT = "1" },
    })
    local job = assert(queue:enqueue("hold", side:args()))
    side:reaches(1)

    server:reload(accounts("1MB"))
    local filler = client:queue(support.fresh_name())
    local message, code
    for _, size in ipairs({ 20000, 2000, 1 }) do
      local stored
      repeat
        stored, message, code = filler:enqueue("noop", ("x"):rep(size))
      until not stored
    end
    assert.equal("STORAGE_FULL", code)
    assert.matches("^queue " .. filler.name .. ": ", message)
    local jobs, errors = filler:enqueue_many({ { "noop", ("x"):rep(20000) } })
    assert.equal("STORAGE_FULL", jobs and errors[1].code or select(3, jobs, errors))

    side:open()
    eventually(function()
      local log = worker:log()
      return log:find(job.id .. ": its record was not stored", 1, true), log
    end, 10, "the record to be refused")
    local subject = ("naq.q.%s.normal.%s"):format(queue.name, job.id)
    assert.is_string(client.conn:last_msg("naq_jobs", subject))

    -- nats-server 2.9.10 does not count what a purge by filter frees, so the limit makes the room.
    assert(filler:purge())
    server:reload(accounts("4GB"))
    assert.equal("completed", job:wait(10))
    assert.equal("held", job:result())
    eventually(function() return trail.messages(client, "naq_jobs") == 0 end, 5, "the job to be acked")
    -- Held all the while, its lease renewed: not run again.
    assert.equal(1, #side:runs()[job.id])
    assert(filler:enqueue("noop"))
  end)
end)
