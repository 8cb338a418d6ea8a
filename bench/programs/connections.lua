-- connections.lua URL FORM OP -- what naq-lua-threads runs in each of its threads: OP, n times, each time
-- on a connection that is taken in the way that FORM names. FORM "prepare" makes what they work on.
local url, form, op = ...
local naq = require("naq")

-- Loaded before the clock runs: what memory grows by is then that of connections, not of code.
for _, module in ipairs({ "connections", "jetstream", "kv" }) do
  require("naq." .. module)
end

local options = { servers = { url } }
assert(require("naq.config").resolve(options))
local data = ("0123456789"):rep(10)
local MANY = 100

local OPS = {}

function OPS.publish(js) assert(js:publish("bench.connections", data)) end

function OPS.stream(js) assert(js:stream_info("bench_connections")) end

function OPS.kv(js) assert(assert(js:kv("bench_connections")):get("key")) end

function OPS.many(js)
  for _ = 1, MANY do
    assert(js:publish("bench.connections", data))
  end
end

local work = OPS[op]

local FORMS = {}

function FORMS.prepare()
  naq.with_jetstream(options, function(js)
    assert(js:ensure_stream("bench_connections", {
      subjects = { "bench.connections" }, retention = "limits", max_msgs = 1000,
    }))
    assert(assert(js:kv("bench_connections")):put("key", data))
  end)
end

-- Opened, used under pcall, closed.
local function by_hand()
  local conn = assert(naq.connection(options))
  local ok, problem = pcall(function() work(conn:jetstream()) end)
  conn:close()
  if not ok then error(problem, 0) end
end

function FORMS.by_hand(n)
  for _ = 1, n do
    by_hand()
  end
end

function FORMS.scoped(n)
  for _ = 1, n do
    naq.with_jetstream(options, work)
  end
end

-- Made once, as at the top of a file.
function FORMS.injected(n)
  local injected = naq.uses_jetstream(work, options)
  for _ = 1, n do
    injected()
  end
end

-- One connection for all of it.
function FORMS.held(n)
  naq.with_jetstream(options, function(js)
    for _ = 1, n do
      work(js)
    end
  end)
end

return assert(FORMS[form], "no such form")
