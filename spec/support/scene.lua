-- What a spec that kills things starts from: a server of its own, a client, a new queue and an empty trail.
--
--   local at = support.scene()
--   local client, queue, side, server
--   before_each(function() client, queue, side, server = at:begin() end)
--   after_each(function() at:finish() end)
local jetstream_api = require("naq.jetstream_api")
local nats = require("spec.support.nats")
local process = require("spec.support.process")
local trail = require("spec.support.trail")

---@class spec.Scene
---@field server table
---@field client naq.Client
---@field queue naq.Queue
---@field workers table[]
---@field side table  what the jobs leave behind; see trail.lua
local Scene = {}
Scene.__index = Scene

local scene = {}

---@param root string  of the source tree
---@return spec.Scene
function scene.new(root) return setmetatable({ root = root }, Scene) end

---@param server_options? table  as for nats.start()
---@param client_options? table  configuration of the client that makes the streams and buckets
function Scene:begin(server_options, client_options)
  self.server = nats.start(server_options)
  self.client = self.server:client(client_options)
  assert(self.client:ensure_layout())
  self.queue = self.client:queue(nats.fresh_name())
  self.side = trail.new()
  self.workers = {}
  return self.client, self.queue, self.side, self.server
end

function Scene:finish()
  process.stop_all()
  self.client:close()
  self.server:stop()
  self.side:remove()
end

--- From here on the server forgets a Msg-Id in a tenth of a second: what is published twice is stored twice.
function Scene:forget_msg_ids()
  local config = assert(jetstream_api.call(self.client.conn, "STREAM.INFO", "naq_jobs")).config
  config.duplicate_window = 100 * 1000 * 1000
  assert(jetstream_api.call(self.client.conn, "STREAM.UPDATE", "naq_jobs", config))
end

--- How many messages of jobs the server has stored since it has their stream.
---@return integer
function Scene:stored()
  return assert(jetstream_api.call(self.client.conn, "STREAM.INFO", "naq_jobs")).state.last_seq
end

--- A worker of the scene's queue with the jobs that leave marks, and these options besides.
function Scene:worker(options)
  local all = {
    url = self.server.url,
    queues = { self.queue.name },
    jobs = { self.root .. "/spec/crash/jobs/marks.lua" },
    threads = 4,
  }
  for k, v in pairs(options or {}) do
    all[k] = v
  end
  local worker = process.start_worker(all)
  table.insert(self.workers, worker)
  return worker
end

--- What its workers have logged, for a failure to tell.
function Scene:logs()
  local logs = {}
  for i, worker in ipairs(self.workers) do
    logs[i] = worker:log()
  end
  return table.concat(logs)
end

--- Enqueue so many, entry(i) = { name, args, opts }.
---@return string[] ids
function Scene:enqueue(count, entry)
  local entries, ids = {}, {}
  for i = 1, count do
    entries[i] = entry(i)
  end
  for i, job in ipairs(assert(self.queue:enqueue_many(entries))) do
    ids[i] = job.id
  end
  return ids
end

return scene
