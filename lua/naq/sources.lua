-- sources.lua -- the texts that a worker's code is made of: its job files, the directories they stand in,
-- and the modules they require while they are loaded. Read from disk once; a snapshot of them is what
-- every other state of the worker is made of, so that all run the same code until it is reloaded.
local core = require("naq.core")

-- luacheck: std lua54+lua51
local sources = {}

---@class naq.Sources
---@field wanted boolean
---@field settled boolean?
---@field kept table<string, table<string, string>>  what was read, by kind
local Sources = {}
Sources.__index = Sources

-- A file's text, a directory's files (separated by zeros), a module's path.
local KINDS = { file = true, dir = true, module = true }

local function empty()
  local kept = {}
  for kind in pairs(KINDS) do
    kept[kind] = {}
  end
  return kept
end

--- @param from string|boolean|nil  a snapshot's text; else read from disk, true: settle() is to return one
---@return naq.Sources
function sources.new(from)
  local self = setmetatable({ kept = empty(), wanted = from == true }, Sources)
  if type(from) ~= "string" then return self end
  local at = 1
  while at <= #from do
    local kind, name, text, behind = string.unpack("s4s4s4", from, at)
    self.kept[kind][name] = text
    at = behind
  end
  return self
end

-- What was kept, or what `read` says, which is kept.
local function get(self, kind, name, read)
  if self.kept[kind][name] then return self.kept[kind][name] end
  local found, message = read(name)
  if not self.settled then self.kept[kind][name] = found end
  return found, message
end

local function read_file(path)
  local f, message = io.open(path, "rb")
  if not f then return nil, "cannot open " .. message end
  local text
  text, message = f:read("*a")
  f:close()
  if not text then return nil, ("cannot read %s: %s"):format(path, message) end
  return text
end

--- The text of a file, as it is compiled: without a byte order mark and without a first line that is
--- for a shell.
---@return string? text, string? message
function Sources:read(path)
  local text, message = get(self, "file", path, read_file)
  if not text then return nil, message end
  return (text:gsub("^\239\187\191", "", 1):gsub("^#[^\n]*", "", 1))
end

--- Compile a file: Lua text only.
---@return function? chunk, string? message  with file and line
function Sources:load(path, environment)
  local text, message = self:read(path)
  if not text then return nil, message end
  if setfenv then -- Lua 5.1, where the mode is none of load's business
    if text:byte() == 27 then return nil, path .. ": is bytecode, not Lua text" end
    local chunk
    chunk, message = loadstring(text, "@" .. path)
    return chunk and setfenv(chunk, environment), message
  end
  return load(text, "@" .. path, "t", environment)
end

--- Whether there is such a file.
function Sources:exists(path)
  if self.kept.file[path] then return true end
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

--- The .lua files below a directory, relative to it.
---@return string[]? paths, string? message
function Sources:list(dir)
  local joined, message = get(self, "dir", dir, function()
    local found, why = core.lua_files(dir)
    if not found then return nil, why end
    return table.concat(found, "\0")
  end)
  if not joined then return nil, message end
  local paths = {}
  for path in joined:gmatch("%Z+") do
    paths[#paths + 1] = path
  end
  return paths
end

local function search(name) return package.searchpath(name, package.path) end

-- naq's own modules are the program's, not the user's.
local function is_ours(name) return name == "naq" or name:match("^naq%.") ~= nil end

--- From here on require() in this state takes Lua modules from here. Lua 5.4.
function Sources:install()
  local plain = package.searchers[2]
  package.searchers[2] = function(name)
    if is_ours(name) then return plain(name) end
    local path, message = get(self, "module", name, search)
    if not path then return message end
    local text, chunk
    text, message = self:read(path)
    if text then chunk, message = load(text, "@" .. path) end
    if chunk then return chunk, path end
    error(("module '%s' cannot be loaded: %s"):format(name, message), 0) -- with file and line
  end
end

local function pack(kept)
  local parts = {}
  for kind, entries in pairs(kept) do
    for name, text in pairs(entries) do
      parts[#parts + 1] = string.pack("s4s4s4", kind, name, text)
    end
  end
  return table.concat(parts)
end

--- All job files are loaded: what is read from now on is not kept. Returns the snapshot, where it is wanted.
--- Texts of modules are not needed any more; those of job files may be, for the sandbox.
---@return string?
function Sources:settle()
  local text = self.wanted and pack(self.kept) or nil
  self.settled = true
  for _, path in pairs(self.kept.module) do
    self.kept.file[path] = nil
  end
  return text
end

return sources
