-- Certificates for the specs, made by openssl: an authority, and what it signs.

local core = require("naq.core")

local certificates = {}

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function openssl(dir, ...)
  local log = dir .. "/openssl.log"
  local options = { stdout = log, stderr = log, die_with_parent = true, env = { LD_PRELOAD = false } }
  local pid = assert(core.spawn({ "openssl", ... }, options))
  local state, status = core.wait(pid, 30)
  if state ~= "exited" or status ~= 0 then
    local f = io.open(log, "rb")
    error("openssl " .. table.concat({ ... }, " ") .. ": " .. (f and f:read("*a") or state), 3)
  end
end

local Authority = {}
Authority.__index = Authority

--- An authority in a folder of its own: {dir, ca_file}.
function certificates.authority(name)
  local dir = assert(core.mkdtemp("naq-spec-tls"))
  local self = setmetatable({ dir = dir, ca_file = dir .. "/ca.pem", signed = 0 }, Authority)
  openssl(dir, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
    "-keyout", dir .. "/ca.key", "-out", self.ca_file, "-subj", "/CN=" .. (name or "naq spec authority"))
  write(dir .. "/index.txt", "")
  return self
end

--- A certificate with its key: {cert_file, key_file}. Options: names (a subjectAltName, default
--- "DNS:127.1,IP:127.0.0.1"), common_name, expired.
function Authority:sign(options)
  options = options or {}
  self.signed = self.signed + 1
  local base = ("%s/%d"):format(self.dir, self.signed)
  local made = { cert_file = base .. ".pem", key_file = base .. ".key" }
  local days = options.expired and { "20200101000000Z", "20200201000000Z" }
    or { "20200101000000Z", "20991231000000Z" }
  local config = write(base .. ".conf", ([[
[ca]
default_ca = here
[here]
database = %s/index.txt
new_certs_dir = %s
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = %s
]]):format(self.dir, self.dir, options.names or "DNS:127.1,IP:127.0.0.1"))
  openssl(self.dir, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-keyout", made.key_file, "-out", base .. ".csr", "-subj", "/CN=" .. (options.common_name or "spec"))
  openssl(self.dir, "ca", "-batch", "-notext", "-config", config, "-cert", self.ca_file,
    "-keyfile", self.dir .. "/ca.key", "-in", base .. ".csr", "-out", made.cert_file,
    "-startdate", days[1], "-enddate", days[2])
  return made
end

--- The key of a certificate again, locked with a pass phrase. Returns its path.
function Authority:lock(key_file, phrase)
  openssl(self.dir, "pkey", "-in", key_file, "-aes128", "-passout", "pass:" .. phrase, "-out", key_file .. ".locked")
  return key_file .. ".locked"
end

--- Configuration lines of a server with this certificate; verify: clients need one of `authority`.
function certificates.server(made, authority, verify)
  return {
    ('tls { cert_file: "%s", key_file: "%s", ca_file: "%s", verify: %s, timeout: 5 }'):format(
      made.cert_file, made.key_file, authority.ca_file, tostring(verify or false)),
  }
end

function Authority:remove() core.rmtree(self.dir) end

return certificates
