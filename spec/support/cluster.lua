-- Three NATS servers that are one cluster.

local core = require("naq.core")
local nats = require("spec.support.nats")

local cluster = {}

local Cluster = {}
Cluster.__index = Cluster

-- Different ones: nobody listens on the first yet when the second is looked for. A server's own port, too,
-- must not be another's route.
local function free_ports(count)
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local ports, taken = {}, {}
  while #ports < count do
    local port = assert(core.free_port(tonumber(low), tonumber(high)))
    if not taken[port] then ports[#ports + 1] = port end
    taken[port] = true
  end
  return ports
end

--- {servers, urls}, in the same order; the servers are named n1, n2, n3.
function cluster.start()
  local self = setmetatable({ servers = {}, urls = {} }, Cluster)
  local routes, ports = {}, free_ports(6)
  for i = 1, 3 do
    routes[i] = ("127.0.0.1:%d"):format(ports[i])
  end
  local known = "nats://" .. table.concat(routes, ", nats://")
  for i, route in ipairs(routes) do
    local line = ('cluster { name: c, listen: "%s", routes: [%s] }'):format(route, known)
    self.servers[i] = nats.start({ name = "n" .. i, port = ports[i + 3], config = { line } })
    self.urls[i] = self.servers[i].url
  end
  return self
end

function Cluster:stop()
  for _, server in ipairs(self.servers) do
    server:stop()
  end
end

return cluster
