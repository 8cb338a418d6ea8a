-- nkeys and the JWTs signed with them, as `nsc` makes them: ed25519 by openssl, the rest here.

local core = require("naq.core")

local nkeys = {}

local BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local KINDS = { operator = 14 * 8, account = 0, user = 20 * 8 }
local SEED = 18 * 8

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

local function run(dir, ...)
  local log = dir .. "/openssl.log"
  local options = { stdout = log, stderr = log, die_with_parent = true, env = { LD_PRELOAD = false } }
  local pid = assert(core.spawn({ "openssl", ... }, options))
  local state, status = core.wait(pid, 30)
  if state ~= "exited" or status ~= 0 then error("openssl: " .. read(log), 3) end
end

-- Bytes as digits of so many bits, without padding.
local function digits(bytes, bits, alphabet)
  local out, value, have = {}, 0, 0
  for i = 1, #bytes do
    value, have = value * 256 + bytes:byte(i), have + 8
    while have >= bits do
      have = have - bits
      local digit = math.floor(value / 2 ^ have)
      value = value % 2 ^ have
      out[#out + 1] = alphabet:sub(digit + 1, digit + 1)
    end
  end
  if have > 0 then
    local digit = value * 2 ^ (bits - have)
    out[#out + 1] = alphabet:sub(digit + 1, digit + 1)
  end
  return table.concat(out)
end

local function xor16(a, b)
  local result, bit = 0, 1
  for _ = 1, 16 do
    if a % 2 ~= b % 2 then result = result + bit end
    a, b, bit = math.floor(a / 2), math.floor(b / 2), bit * 2
  end
  return result
end

local function with_crc(bytes)
  local crc = 0
  for i = 1, #bytes do
    crc = xor16(crc, bytes:byte(i) * 256)
    for _ = 1, 8 do
      crc = crc >= 32768 and xor16(crc * 2 % 65536, 0x1021) or crc * 2
    end
  end
  return bytes .. string.char(crc % 256, math.floor(crc / 256))
end

local Key = {}
Key.__index = Key

--- A key pair of that kind ("operator", "account", "user"): {seed, public}.
function nkeys.new(kind)
  local dir = assert(core.mkdtemp("naq-spec-nkey"))
  local pem = dir .. "/key.pem"
  run(dir, "genpkey", "-algorithm", "ed25519", "-out", pem)
  run(dir, "pkey", "-in", pem, "-outform", "DER", "-out", dir .. "/private")
  run(dir, "pkey", "-in", pem, "-pubout", "-outform", "DER", "-out", dir .. "/public")
  local private, public = read(dir .. "/private"):sub(-32), read(dir .. "/public"):sub(-32)
  local code = KINDS[kind]
  local prefix = string.char(SEED + math.floor(code / 32), code % 32 * 8)
  return setmetatable({
    dir = dir,
    pem = pem,
    seed = digits(with_crc(prefix .. private), 5, BASE32),
    public = digits(with_crc(string.char(code) .. public), 5, BASE32),
  }, Key)
end

function Key:remove() core.rmtree(self.dir) end

--- Write the seed into a file of the key's folder, between these texts. Returns its path.
function Key:file(before, after)
  self.files = (self.files or 0) + 1
  return write(("%s/seed%d"):format(self.dir, self.files), (before or "") .. self.seed .. (after or "\n"))
end

--- A JWT about `subject` (a public key), signed by this key. expires: epoch seconds.
function Key:jwt(subject, name, claims, expires)
  local header = digits(core.encode({ typ = "JWT", alg = "ed25519-nkey" }), 6, BASE64)
  local body = digits(core.encode({
    jti = core.new_id(),
    iat = math.floor(core.now()),
    exp = expires,
    iss = self.public,
    sub = subject,
    name = name,
    nats = claims,
  }), 6, BASE64)
  local text = write(self.dir .. "/text", header .. "." .. body)
  run(self.dir, "pkeyutl", "-sign", "-rawin", "-inkey", self.pem, "-in", text, "-out", self.dir .. "/signature")
  return ("%s.%s.%s"):format(header, body, digits(read(self.dir .. "/signature"), 6, BASE64))
end

local NO_LIMITS = {
  subs = -1, data = -1, payload = -1, imports = -1, exports = -1, wildcards = true, conn = -1, leaf = -1,
  mem_storage = -1, disk_storage = -1, streams = -1, consumer = -1,
}

--- A whole operator with a system account and an account with JetStream: {config = lines for the
--- server, user(expires?) -> path of a credentials file, jwt, key; remove()}.
function nkeys.operator()
  local operator, system, account = nkeys.new("operator"), nkeys.new("account"), nkeys.new("account")
  local made = { operator, system, account }
  local function claims(limits) return { type = "account", version = 2, limits = limits } end
  local self = {
    config = {
      "operator: " .. operator:jwt(operator.public, "O", { type = "operator", version = 2 }),
      "resolver: MEMORY",
      "system_account: " .. system.public,
      ("resolver_preload: { %s: %s, %s: %s }"):format(
        system.public, operator:jwt(system.public, "SYS", claims({ subs = -1, conn = -1, data = -1, payload = -1 })),
        account.public, operator:jwt(account.public, "A", claims(NO_LIMITS))),
    },
  }
  function self.user(expires)
    local user = nkeys.new("user")
    made[#made + 1] = user
    local about = { type = "user", version = 2, subs = -1, data = -1, payload = -1 }
    local jwt = account:jwt(user.public, "spec", about, expires)
    return write(user.dir .. "/user.creds", nkeys.credentials(jwt, user.seed)), jwt, user
  end
  function self.remove()
    for _, key in ipairs(made) do
      key:remove()
    end
  end
  return self
end

--- The text of a credentials file.
function nkeys.credentials(jwt, seed)
  return ([[
-----BEGIN NATS USER JWT-----
%s
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
%s
------END USER NKEY SEED------
]]):format(jwt, seed)
end

return nkeys
