-- running.lua -- what runs now, as the live workers say themselves when they are asked.
local core = require("naq.core")
local workers = require("naq.workers")

local running = {}

-- How long workers may take to say it. One that has died since its last heartbeat costs all of it.
local ANSWER_SECONDS = 0.25

--- All jobs that run: id -> queue.
---@param client naq.Client
---@return table<string, string>? jobs
---@return boolean|string all_or_message  whether there are live workers, and all have answered
---@return naq.Code? code
function running.jobs(client)
  local list, message, code = workers.list(client)
  if not list then return nil, message, code end
  local living, jobs = 0, {}
  for _, worker in ipairs(list) do
    if not worker.stale then living = living + 1 end
  end
  if living == 0 then return jobs, false end
  local answers
  answers, message, code =
    client.conn:request_many(client.prefix .. ".w.running", "", living, ANSWER_SECONDS)
  if not answers then return nil, message, code end
  for _, text in ipairs(answers) do
    local answer = core.decode(text)
    for _, job in ipairs(type(answer) == "table" and answer.jobs or {}) do
      jobs[job.id] = job.queue
    end
  end
  return jobs, #answers == living
end

return running
