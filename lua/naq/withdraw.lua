-- withdraw.lua -- a job that waits on its queue taken away, as if it had never been enqueued.
--
-- No record is left that could decide, as there is of a cancelled job. So where workers may have fetched the
-- message each is asked to drop it, and says whether it had begun it (csrc/run/cancel.h).
local core = require("naq.core")
local errors = require("naq.errors")
local jetstream_api = require("naq.jetstream_api")
local job = require("naq.job")
local lookup = require("naq.lookup")
local workers = require("naq.workers")

local withdraw = {}

-- How long workers may take to answer. One that has died since its last heartbeat costs all of it.
local ANSWER_SECONDS = 0.25

-- Whether workers were given messages of that priority up to this one, or beyond it; and whether they still
-- have, or have given back, some of them.
local function delivered(client, found)
  local consumer = ("%s_jobs.%s_%s"):format(client.prefix, found.queue, found.priority)
  local info, message, code = jetstream_api.call(client.conn, "CONSUMER.INFO", consumer)
  if info then
    return (tonumber(info.delivered.stream_seq) or 0) >= tonumber(found.seq), (info.num_ack_pending or 0) > 0
  end
  if code == errors.KEY_NOT_FOUND then return false, false end
  return nil, message, code
end

-- What to do instead is part of the answer: `delete` is for what nobody has, `cancel` for everything else.
local CANCEL = "; to end it all the same, cancel it: naq job cancel %s, or job:cancel()"

local function refuse(id, why, advice)
  return nil, ("job %s: not deleted: %s%s"):format(id, why, (advice or ""):format(id)), errors.WRONG_STATE
end

local function elsewhere(id, found)
  if job.TERMINAL[found.state] then return refuse(id, "it has ended already: " .. found.state) end
  if found.state == "running" then return refuse(id, "it is running", CANCEL) end
  return refuse(id, ("it is %s, and not on its queue"):format(found.state), CANCEL)
end

-- What all live workers answer: worker -> answer. `enough` ends the waiting.
local function ask(client, subject, request, count, enough)
  if count == 0 then return {} end
  local texts, message, code =
    client.conn:request_many(client.prefix .. subject, request, count, ANSWER_SECONDS, enough)
  if not texts then return nil, message, code end
  local answers = {}
  for _, text in ipairs(texts) do
    local answer = core.decode(text)
    if type(answer) == "table" and answer.worker then answers[answer.worker] = answer end
  end
  return answers
end

local function serves(worker, name)
  for _, served in ipairs(worker.queues or {}) do
    if served == name then return true end
  end
  return false
end

-- The workers that may have fetched it: those that serve its queue and are there; and how many there are in
-- all. nil, message, code where one runs it, or cannot be asked.
local function reachable(client, name, id)
  local list, message, code = workers.list(client)
  if not list then return nil, message, code end
  local serving, count = {}, 0
  for _, worker in ipairs(list) do
    if not worker.stale then count = count + 1 end
    if serves(worker, name) then serving[#serving + 1] = worker end
  end
  local answers
  answers, message, code = ask(client, ".w.running", id, count, '"running":true')
  if not answers then return nil, message, code end
  for _, answer in pairs(answers) do
    if answer.running then return refuse(id, "it is running", CANCEL) end
  end
  for _, worker in ipairs(serving) do
    if not answers[worker.id] then
      local why = "worker %s does not answer, and may have fetched it, and begin it"
      return refuse(id, why:format(worker.id), CANCEL)
    end
  end
  return serving, count
end

-- Have it dropped where it was fetched and not begun: true where all workers have said that they do, false
-- where one has begun it, or does not say. One that is starting does not listen yet.
local function drop(client, id, seq, serving, count)
  local request = { id = id, seq = seq, drop = true }
  local answers, message, code = ask(client, ".w.cancel", core.encode(request), count, '"drops":false')
  if not answers then return nil, message, code end
  local agreed = true
  for _, worker in ipairs(serving) do
    local answer = answers[worker.id]
    if answer then
      agreed = agreed and answer.drops == true
    else
      agreed = agreed and worker.state == "starting"
    end
  end
  if agreed then return true end
  -- It stays: none of them may drop it when it comes once more.
  request.drop = false
  client.conn:publish(client.prefix .. ".w.cancel", core.encode(request))
  return false
end

-- nil, message, code where it was begun, or may have been.
local function drop_where_fetched(client, found, id)
  local serving, count, code = reachable(client, found.queue, id)
  if not serving then return nil, count, code end
  local dropped, message
  dropped, message, code = drop(client, id, found.seq, serving, count)
  if dropped == false then return refuse(id, "a worker began it in the same moment", CANCEL) end
  return dropped, message, code
end

--- Take one waiting job away, as if it had never been enqueued.
---@param client naq.Client
---@param name string
---@param id string
---@return true? deleted, string? message, naq.Code? code
---        JOB_NOT_FOUND; WRONG_STATE: it does not wait here, a worker runs it, or one is silent that may
function withdraw.job(client, name, id)
  local found, message, code = lookup.locate(client, id)
  if not found then return nil, message, code end
  if found.queue ~= name then return refuse(id, "it is on queue " .. tostring(found.queue)) end
  if found.state ~= "pending" then return elsewhere(id, found) end

  local given, some
  given, some, code = delivered(client, found)
  if given == nil then return nil, some, code end
  local fetched = given and some
  if fetched then
    local dropped
    dropped, message, code = drop_where_fetched(client, found, id)
    if not dropped then return nil, message, code end
  end

  local removed
  removed, message, code = jetstream_api.delete_message(client.conn, client.prefix .. "_jobs", found.seq)
  if removed == nil then return nil, message, code end
  if not removed then
    -- Whoever had fetched it has dropped it; or somebody was faster, and it has ended.
    local record = lookup.record(client, id)
    if record and job.TERMINAL[record.state] then return elsewhere(id, record) end
    if not fetched then return refuse(id, "it was begun or removed in the same moment") end
  end
  if fetched then return true end

  given, message, code = delivered(client, found)
  if given == nil then return nil, message, code end
  if given and not drop_where_fetched(client, found, id) then
    return refuse(id, "off its queue, but a worker may have fetched it in the same moment, and runs it then")
  end
  return true
end

return withdraw
