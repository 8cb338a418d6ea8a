-- The examples of the documentation that are marked to be run (spec/support/markdown.lua says how), each
-- document with a server, a folder and, where it has a jobs.lua, a worker of its own.

local core = require("naq.core")
local support = require("spec.support")
local markdown = require("spec.support.markdown")
local naq, nats, start_worker = support.naq, support.nats, support.start_worker

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

local function has_runnable(blocks)
  for _, block in ipairs(blocks) do
    if block.directive == "run" then return true end
  end
end

-- bash and what it calls use the plain build: a sanitizer's would have to be loaded into bash, too.
local function run_shell(path, folder, env)
  local out = path .. ".out"
  env.PATH = support.root .. "/bin:" .. os.getenv("PATH")
  env.NAQ_BUILD, env.LD_PRELOAD = false, false
  local options = { stdout = out, stderr = out, env = env, cwd = folder, die_with_parent = true }
  local pid = assert(core.spawn({ "bash", "-eu", "-o", "pipefail", path }, options))
  local state, status = core.wait(pid, 60)
  if state == "running" then
    core.kill(-pid, "KILL")
    core.wait(pid, 10)
  end
  return state == "exited" and status or state, read(out)
end

-- ThreadSanitizer delivers a signal when the thread calls into libc, which an endless loop in Lua never does:
-- under it nothing stops the one of this page.
local UNSTOPPED = support.build:find("tsan", 1, true) and "docs/limits.md"

for _, document in ipairs(markdown.documents(support.root)) do
  local blocks = markdown.read(support.root, document)
  if has_runnable(blocks) and document ~= UNSTOPPED then
    describe(document, function()
      local server, worker, folder

      setup(function()
        server = nats.start()
        folder = assert(core.mkdtemp("naq-spec-docs"))
        for _, block in ipairs(blocks) do
          if block.directive == "file" then write(folder .. "/" .. block.name, block.text) end
        end
        if io.open(folder .. "/jobs.lua") then
          worker = start_worker({ url = server.url, jobs = { folder .. "/jobs.lua" } })
        end
      end)

      teardown(function()
        if worker then worker:stop() end
        server:stop()
        core.rmtree(folder)
      end)

      for _, block in ipairs(blocks) do
        if block.directive == "run" then
          it(("runs the example at line %d"):format(block.line), function()
            local path = ("%s/line%d.%s"):format(folder, block.line, block.language)
            local env = { NAQ_NATS_URL = server.url }
            write(path, block.text)
            local status, out, errors
            if block.language == "lua" then
              status, out, errors = naq("run", path, { env = env, cwd = folder })
            else
              status, out = run_shell(path, folder, env)
            end
            local log = worker and worker:log() or ""
            assert(status == 0, ("exit status %s\n%s%s\n%s"):format(status, out, errors or "", log))
          end)
        end
      end
    end)
  end
end
