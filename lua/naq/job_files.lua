-- job_files.lua -- job files loaded: the jobs they define, the hooks they register. Used in a worker's
-- states and by naq.testing.
local declarations = require("naq.declarations")
local definitions = require("naq.definitions")
local hooks = require("naq.hooks")

local job_files = {}

-- A job file's globals. While it loads they go to `own`, which is then moved to `defined`; a job that sets a
-- global later sets it in `own` again, and the core empties that after every call. So nothing a job
-- leaves behind is seen by another, nor by its own next run.
local function environment(globals)
  local defined = setmetatable({}, { __index = globals })
  local own = setmetatable({}, { __index = defined, __metatable = false })
  defined._G = own
  return own, defined
end

local function settle(own, defined)
  for name, value in pairs(own) do
    defined[name] = value
  end
  for name in pairs(own) do
    own[name] = nil
  end
end

---@class naq.LoadedJob
---@field name string
---@field fn function
---@field own table        the globals of its file
---@field path string      of its file
---@field file_name string that the file was told
---@field options table
---@field source string    "jobs.lua:12"

---@class naq.JobFiles
---@field jobs table<string, naq.LoadedJob>
---@field hooks {kind: string, fn: function, own: table}[]  in the order of their files
---@field declarations naq.Declaration[]
---@field paths string[]
local JobFiles = {}
JobFiles.__index = JobFiles

function JobFiles:_add(job)
  local known = self.jobs[job.name]
  if known then
    error(("%s: job '%s' is already defined at %s"):format(job.source, job.name, known.source), 0)
  end
  self.jobs[job.name] = job
end

-- The jobs a file names with naq.job(), and itself under `name` when it returns a function. Raises with
-- file and line; returns whether there was a job.
function JobFiles:_load(path, name)
  local own, defined = environment(self.globals)
  local chunk, message = self.sources:load(path, own)
  if not chunk then error(message, 0) end
  declarations.open = true
  local ok, returned = pcall(chunk, name)
  declarations.open = false
  if not ok then error(returned, 0) end
  local found = false
  local function add(job_name, fn, options, source)
    found = true
    self:_add({
      name = job_name, fn = fn, own = own, path = path, file_name = name, options = options, source = source,
    })
  end
  for job_name, definition in pairs(definitions.take()) do
    add(job_name, definition.fn, definition.options, definition.source or path)
  end
  if type(returned) == "function" then add(name, returned, {}, path) end
  for _, hook in ipairs(hooks.take()) do
    hook.own = own
    table.insert(self.hooks, hook)
    found = true
  end
  for _, declaration in ipairs(declarations.take()) do
    declaration.file = path
    table.insert(self.declarations, declaration)
    found = true
  end
  table.insert(self.paths, path)
  settle(own, defined)
  return found
end

local function base_name(path) return (path:match("([^/]+)$"):gsub("%.lua$", "")) end

-- A file named twice is loaded once.
local function once(list)
  local seen, kept = {}, {}
  for _, item in ipairs(list) do
    if not seen[item] then kept[#kept + 1] = item end
    seen[item] = true
  end
  return kept
end

--- Load all files and all files below the directories. Raises with file and line for what is broken or
--- defined twice.
---@param files string[]
---@param dirs string[]   also where require() looks first
---@param sources naq.Sources
---@param globals table   what the files' environments stand on
---@return naq.JobFiles
function job_files.load(files, dirs, sources, globals)
  local self = setmetatable({
    jobs = {}, hooks = {}, declarations = {}, paths = {}, sources = sources, globals = globals,
  }, JobFiles)
  declarations.take()
  definitions.take() -- of whatever was required before; they are no job file's
  hooks.take()
  definitions.strict = true
  local ok, message = pcall(self._load_all, self, files, dirs)
  definitions.strict = false
  if ok then return self end
  definitions.take()
  hooks.take()
  error(message, 0)
end

function JobFiles:_load_all(files, dirs)
  for _, dir in ipairs(dirs) do
    package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(dir, dir, package.path)
  end
  for _, path in ipairs(once(files)) do
    if not self:_load(path, base_name(path)) then
      error(("%s: defines no job: neither naq.job(...) nor a function returned"):format(path), 0)
    end
  end
  for _, dir in ipairs(once(dirs)) do
    local found, message = self.sources:list(dir)
    if not found then error(message, 0) end
    for _, path in ipairs(found) do
      self:_load(dir .. "/" .. path, (path:gsub("%.lua$", ""):gsub("/", ".")))
    end
  end
  -- Files below a directory may be modules of the jobs, and need not be jobs themselves. One has to be.
  if #dirs > 0 and not next(self.jobs) and #self.hooks == 0 and #self.declarations == 0 then
    local all = table.concat(dirs, ", ")
    error(("%s: no file below it returns a function or calls naq.job(...)"):format(all), 0)
  end
end

return job_files
