-- testing.lua -- jobs in tests: enqueued through the client that programs use, run in the test's own Lua
-- state without a server, by the runner and the rules of workers. See docs/testing.md.
local client = require("naq.client")
local config = require("naq.config")
local core = require("naq.core")
local library = require("naq.library")
local options = require("naq.options")
local runner = require("naq.runner")
local sources = require("naq.sources")
local testing_asserts = require("naq.testing_asserts")
local testing_conn = require("naq.testing_conn")
local testing_store = require("naq.testing_store")
local worker = require("naq.worker")

local testing = {}

local TESTING = {
  files = { type = { "strings", "string" }, doc = "job files" },
  dirs = { type = { "strings", "string" }, doc = "directories of files that each return one job" },
  inline = { type = "boolean", doc = "run each job as it is enqueued" },
  now = { type = "number", doc = "what the clock says at first (the time)" },
}

local function list(value)
  if value == nil then return {} end
  return type(value) == "table" and value or { value }
end

-- A client whose handles ask the store. What its class has besides needs a server.
local function client_over(store, resolved)
  local made = client.over(testing_conn.new(store), resolved)
  made.results = store
  made.now = function() return store.time end
  function made:cancel_job(handle) return store:cancel(self:use(2) and handle) end
  function made:failed()
    self:use(2)
    return { retry_job = function(_, handle) return store:retry(handle) end }
  end
  function made:workers() return self:use(2) and {} end
  return made
end

---@class naq.TestClient : naq.Client
local extra = {}

--- Run all jobs that are due, and what they enqueue. Returns how many attempts that took.
---@return integer
function extra:run() return self:use(2).store:run() end

--- Move the clock by so many seconds: what becomes due on the way runs at its time, retries too.
---@param seconds number
---@return integer attempts
function extra:advance(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("a number of seconds from 0 expected", 2)
  end
  return self:use(2).store:advance(seconds)
end

--- The jobs so far, in the order in which they were enqueued, whatever became of them.
---@param filter? {job: string?, queue: string?, priority: string?, state: string?, id: string?, args: any}
---@return table[] jobs  as job:info() tells them
function extra:enqueued(filter)
  testing_asserts.check(filter, 2)
  local found, store = {}, self:use(2).store
  for _, one in ipairs(store.list) do
    local info = store:info(one) or { id = one.id, job = one.name, queue = one.queue, state = one.state,
      priority = one.priority, args = one.payload.args }
    if testing_asserts.matches(info, filter) then found[#found + 1] = info end
  end
  return found
end

--- Raises unless such a job was enqueued (filter.count: so many). args may be a part of the job's.
---@param name string
---@param filter? table  queue, priority, state, id, args, count
---@return true
function extra:assert_enqueued(name, filter)
  testing_asserts.check(filter, 2)
  filter = filter or {}
  local problem = testing_asserts.problem(self:enqueued(), name, filter, filter.count)
  if problem then error(problem, 2) end
  return true
end

--- Raises when such a job was enqueued.
---@param name string
---@param filter? table
---@return true
function extra:assert_not_enqueued(name, filter)
  testing_asserts.check(filter, 2)
  local problem = testing_asserts.problem(self:enqueued(), name, filter or {}, 0)
  if problem then error(problem, 2) end
  return true
end

--- Forget all jobs; the clock stays.
function extra:clear() self:use(2).store:clear() end

--- From now on naq.connect() gives clients of this test, until close(): for programs that connect themselves.
function extra:stand_in()
  local store, resolved = self:use(2).store, self.config
  local naq = require("naq")
  naq.disconnect()
  local real = client.connect
  client.connect = function() return client_over(store, resolved) end
  self.stop_standing_in = function()
    client.connect = real
    naq.disconnect()
  end
  return self
end

--- A client without a server, and the jobs of these files to run. Other options are those of naq.connect():
--- prefix, queue settings, defaults. Raises with file and line for what is wrong in a job file.
---@param given {files: string|string[]|nil, dirs: string|string[]|nil, inline: boolean?, now: number?}
---@return naq.TestClient
function testing.new(given)
  local own, rest = {}, {}
  for name, value in pairs(given or {}) do
    (TESTING[name] and own or rest)[name] = value
  end
  options.apply(TESTING, own, 2)
  local resolved, message = config.resolve(rest, 2)
  if not resolved then error(message, 2) end
  local path = package.path
  local globals, seal = library.open()
  local told = { files = list(own.files), dirs = list(own.dirs) }
  told.policies = worker.policies(resolved.queues.configs)
  told.limits = { timeout = resolved.workers.timeout, memory_limit = resolved.workers.memory_limit }
  local built = runner.build(told, sources.new(), globals, testing_store.MARKS, function() return 0.5 end)
  seal()
  local store = testing_store.new({
    built = built, limits = told.limits, now = own.now or core.now(), inline = own.inline,
    result_ttl = resolved.results.ttl,
  })
  local self = client_over(store, resolved)
  self.store, store.client = store, self
  for name, method in pairs(extra) do
    self[name] = method
  end
  local close = self.close
  self.close = function()
    if self.stop_standing_in then self.stop_standing_in() end
    self.stop_standing_in = nil
    package.path = path
    close(self)
  end
  return self
end

--- A nats-server of its own, with an empty store that is gone with it.
---@param given? {port: integer?}
---@return naq.TestServer? server, string? message, naq.Code? code
function testing.server(given) return require("naq.testing_server").start(given or {}) end

return testing
