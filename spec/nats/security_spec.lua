-- Who we are and whom we talk to: logins, tokens, nkeys, credentials files, TLS. Each against a server
-- that is configured for it, with the right secret and with wrong ones.
-- secrets_spec.lua has the worker, and what is printed.

local core = require("naq.core")
local support = require("spec.support")
local certificates = require("spec.support.certificates")
local nkeys = require("spec.support.nkeys")
local library = require("naq")
local nats, naq = support.nats, support.naq

-- A name to TLS, and to resolvers a short form of 127.0.0.1: "localhost" needs an /etc/hosts.
local NAME = "127.1"

-- Through the public surface, where the server's answer counts as much as being let in.
local function try(server, options)
  options.servers = options.servers or { server.url }
  options.connection_timeout = options.connection_timeout or 5
  local client, message, code = library.connect(options)
  if not client then return code, message end
  local job
  job, message, code = client:queue("q"):enqueue("x")
  client:close()
  return job and "OK" or code, message
end

local function with_login(server, login) return (server.url:gsub("//", function() return "//" .. login .. "@" end)) end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function assert_says(expected_code, words, code, message)
  assert.equal(expected_code, code, message)
  for _, word in ipairs(words) do
    assert.truthy(message:find(word, 1, true), message)
  end
end

describe("user and password", function()
  local server
  local USER, PASSWORD = 'a"da:l', [[p@s/s:w"o\rd%,ü]]

  setup(function()
    local line = [[authorization { user: "a\"da:l", password: "p@s/s:w\"o\\rd%,ü" }]]
    server = nats.start({ config = { line } })
  end)
  teardown(function() server:stop() end)

  it("are sent as they are, whatever characters they have", function()
    assert.equal("OK", (try(server, { user = USER, password = PASSWORD })))
  end)

  it("are read from the URL, percent-encoded", function()
    local login = "a%22da%3Al:p%40s%2Fs%3Aw%22o%5Crd%25%2C%C3%BC"
    assert.equal("OK", (try(server, { servers = { with_login(server, login) } })))
    local status, _, errors = naq("doctor", "-u", with_login(server, login))
    assert.equal(0, status, errors)
  end)

  it("of one URL are those of the whole cluster", function()
    local login = "a%22da%3Al:p%40s%2Fs%3Aw%22o%5Crd%25%2C%C3%BC"
    local servers = { with_login({ url = "nats://127.0.0.1:9" }, login), server.url }
    assert.equal("OK", (try(server, { servers = servers })))
  end)

  it("of two URLs must be the same", function()
    local servers = { with_login(server, "ada:one"), with_login(server, "ada:two") }
    assert_says("CONFIGURATION", { server.url, "another user" }, try(server, { servers = servers }))
  end)

  it("are refused when wrong or missing, and not told", function()
    for _, options in ipairs({ { user = USER, password = "wr0ng" }, { user = "x", password = PASSWORD }, {} }) do
      local code, message = try(server, options)
      assert_says("AUTH", { server.url, "refused the credentials" }, code, message)
      assert.falsy(message:find("wr0ng", 1, true), message)
      assert.falsy(message:find("p@s", 1, true), message)
    end
  end)

  it("contradict themselves as a password alone", function()
    assert_says("CONFIGURATION", { "password", "user" }, try(server, { password = PASSWORD }))
  end)
end)

describe("a token", function()
  local server
  setup(function() server = nats.start({ config = { [[authorization { token: "t\"o/k:en" }]] } }) end)
  teardown(function() server:stop() end)

  it("is sent, from an option or a URL", function()
    assert.equal("OK", (try(server, { token = 't"o/k:en' })))
    assert.equal("OK", (try(server, { servers = { with_login(server, "t%22o%2Fk%3Aen") } })))
  end)

  it("is refused when wrong", function()
    local code, message = try(server, { token = "wr0ng" })
    assert_says("AUTH", { server.url }, code, message)
    assert.falsy(message:find("wr0ng", 1, true), message)
  end)
end)

describe("an nkey seed file", function()
  local server, user, stranger, account

  setup(function()
    user, stranger, account = nkeys.new("user"), nkeys.new("user"), nkeys.new("account")
    server = nats.start({ config = { ("authorization { users = [ { nkey: %s } ] }"):format(user.public) } })
  end)
  teardown(function()
    server:stop()
    for _, key in ipairs({ user, stranger, account }) do
      key:remove()
    end
  end)

  it("is enough: the public key follows from it", function()
    assert.equal("OK", (try(server, { nkey_seed_file = user:file() })))
    assert.equal("OK", (try(server, { nkey_seed_file = user:file("# the key of ada\n", "") })))
    assert.equal("OK", (try(server, { nkey_seed_file = user:file("", "\n" .. user.public .. "\n") })))
  end)

  it("of somebody else is refused", function()
    assert_says("AUTH", { server.url }, try(server, { nkey_seed_file = stranger:file() }))
  end)

  it("that cannot work is named", function()
    local changed = stranger:file()
    write(changed, (stranger.seed:gsub("^(.....)(.)", function(a, b) return a .. (b == "A" and "B" or "A") end)))
    local cases = {
      { "/nowhere/seed", "No such file" },
      { user.dir, "cannot be read" },
      { write(user.dir .. "/empty", ""), "holds no seed" },
      { write(user.dir .. "/short", "SUAB\n"), "58 characters" },
      { changed, "check sum" },
      { account:file(), "not a user's" },
      { user:file("", "\r\n"), "white space" },
      { write(user.dir .. "/large", ("x"):rep(20000)), "too large" },
    }
    for _, case in ipairs(cases) do
      local code, message = try(server, { nkey_seed_file = case[1] })
      assert_says("CONFIGURATION", { case[1], case[2] }, code, message)
      for _, key in ipairs({ user, stranger, account }) do
        assert.falsy(message:find(key.seed:sub(4, 20), 1, true), message)
      end
    end
  end)
end)

describe("a credentials file", function()
  local server, operator

  setup(function()
    operator = nkeys.operator()
    server = nats.start({ config = operator.config })
  end)
  teardown(function()
    server:stop()
    operator.remove()
  end)

  it("lets its user in", function()
    local file = operator.user()
    assert.equal("OK", (try(server, { creds_file = file })))
    local env = { NAQ_NATS_CREDS_FILE = file }
    local status, _, errors = naq("doctor", "-u", server.url, { env = env })
    assert.equal(0, status, errors)
  end)

  it("is read again for each connection", function()
    local file, jwt, user = operator.user()
    local stranger = nkeys.new("user")
    write(file, nkeys.credentials(jwt, stranger.seed))
    stranger:remove()
    assert.equal("AUTH", (try(server, { creds_file = file })))
    write(file, nkeys.credentials(jwt, user.seed))
    assert.equal("OK", (try(server, { creds_file = file })))
  end)

  it("that has expired, or that another account signed, is refused", function()
    assert_says("AUTH", { server.url }, try(server, { creds_file = (operator.user(math.floor(core.now()) - 5)) }))
    local account, user = nkeys.new("account"), nkeys.new("user")
    local jwt = account:jwt(user.public, "x", { type = "user", version = 2 })
    local file = write(account.dir .. "/x.creds", nkeys.credentials(jwt, user.seed))
    assert_says("AUTH", { server.url }, try(server, { creds_file = file }))
    account:remove()
    user:remove()
  end)

  it("that cannot work is named", function()
    local file, jwt, user = operator.user()
    local cases = {
      { "/nowhere/user.creds", "No such file" },
      { write(user.dir .. "/1", user.seed .. "\n"), "holds no JWT" },
      { write(user.dir .. "/2", (nkeys.credentials(jwt, user.seed):gsub("\n%-+BEGIN USER.*", ""))), "holds no seed" },
      { write(user.dir .. "/3", nkeys.credentials(jwt, "SUAB")), "58 characters" },
      { write(user.dir .. "/4", (nkeys.credentials(jwt, user.seed):gsub("\n", "\r\n"))), "white space" },
    }
    for _, case in ipairs(cases) do
      local code, message = try(server, { creds_file = case[1] })
      assert_says("CONFIGURATION", { case[1], case[2] }, code, message)
      assert.falsy(message:find(user.seed:sub(4, 20), 1, true), message)
    end
    local both = { creds_file = file, nkey_seed_file = user:file() }
    assert_says("CONFIGURATION", { "creds_file", "nkey_seed_file" }, try(server, both))
  end)
end)

describe("TLS", function()
  local ca, other, servers = nil, nil, {}

  local function start(made, verify)
    local server = nats.start({ config = certificates.server(made, ca, verify) })
    servers[#servers + 1] = server
    server.tls_url = (server.url:gsub("^nats", "tls"))
    return server
  end

  setup(function() ca, other = certificates.authority(), certificates.authority("another authority") end)
  teardown(function()
    ca:remove()
    other:remove()
  end)
  after_each(function()
    for _, server in ipairs(servers) do
      server:stop()
    end
    servers = {}
  end)

  it("connects to a server whose authority is known, by tls:// or by the option", function()
    local server = start(ca:sign())
    assert.equal("OK", (try(server, { tls = { ca_file = ca.ca_file } })))
    assert.equal("OK", (try(server, { tls = { enabled = true, ca_file = ca.ca_file } })))
    assert.equal("OK", (try(server, { servers = { server.tls_url }, tls = { ca_file = ca.ca_file } })))
    local by_name = { (server.tls_url:gsub("127.0.0.1", NAME)) }
    assert.equal("OK", (try(server, { servers = by_name, tls = { ca_file = ca.ca_file } })))
  end)

  it("trusts the system's authorities where no file is named", function()
    local server = start(ca:sign())
    local env = { SSL_CERT_FILE = ca.ca_file }
    local status, _, errors = naq("doctor", "-u", server.tls_url, { env = env })
    assert.equal(0, status, errors)
    status, _, errors = naq("doctor", "-u", server.tls_url, { env = { SSL_CERT_FILE = other.ca_file } })
    assert.equal(3, status)
    assert.truthy(errors:find("not trusted", 1, true), errors)
  end)

  it("tells the server's version from its greeting, which comes before the handshake", function()
    local server = start(ca:sign())
    local conn = server:connect({ tls = { ca_file = ca.ca_file } })
    local info = assert(conn:info())
    conn:close()
    assert.truthy(info.version:find("^%d+%.%d+"))
  end)

  it("refuses an authority that is not known, and connects when told not to verify", function()
    local server = start(ca:sign())
    local words = { server.url, "not trusted", "naq spec authority", "tls.ca_file" }
    assert_says("CONNECTION", words, try(server, { tls = { ca_file = other.ca_file } }))
    assert_says("CONNECTION", { "not trusted" }, try(server, { tls = { enabled = true } }))
    assert.equal("OK", (try(server, { tls = { enabled = true, verify = false } })))
    assert.equal("OK", (try(server, { servers = { server.tls_url }, tls = { verify = false } })))
  end)

  it("is turned to where the server requires it, and verified just the same", function()
    local server = start(ca:sign())
    assert_says("CONNECTION", { server.url, "not trusted", "tls.ca_file" }, try(server, {}))
    assert.equal("OK", (try(server, { tls = { enabled = false, ca_file = ca.ca_file } })))
  end)

  it("refuses a certificate of another host", function()
    local server = start(ca:sign({ names = "DNS:elsewhere.example" }))
    local tls = { ca_file = ca.ca_file }
    assert_says("CONNECTION", { server.url, "another host" }, try(server, { tls = tls }))
    local by_name = { (server.url:gsub("127.0.0.1", NAME)) }
    assert_says("CONNECTION", { NAME, "another host" }, try(server, { servers = by_name, tls = tls }))
  end)

  it("refuses a certificate that has expired", function()
    local server = start(ca:sign({ expired = true }))
    assert_says("CONNECTION", { server.url, "expired" }, try(server, { tls = { ca_file = ca.ca_file } }))
  end)

  it("is not done without when it was asked for", function()
    local server = nats.start()
    servers[1] = server
    assert_says("CONNECTION", { server.url, "TLS", "has none" }, try(server, { tls = { enabled = true } }))
    local status, _, errors = naq("doctor", "-u", (server.url:gsub("^nats", "tls")))
    assert.equal(3, status, errors)
  end)

  it("shows a client certificate where the server wants one", function()
    local server = start(ca:sign(), true)
    local function with(made)
      return { tls = { ca_file = ca.ca_file, cert_file = made.cert_file, key_file = made.key_file } }
    end
    local mine, stranger = ca:sign({ common_name = "me" }), other:sign({ common_name = "stranger" })
    assert.equal("OK", (try(server, with(mine))))
    local words = { server.url, "client certificate", "tls.cert_file" }
    assert_says("AUTH", words, try(server, { tls = { ca_file = ca.ca_file } }))
    assert_says("AUTH", { server.url, "refused", stranger.cert_file }, try(server, with(stranger)))
  end)

  it("names the file that cannot be used", function()
    local server = start(ca:sign())
    local mine, another = ca:sign(), ca:sign()
    local text = write(ca.dir .. "/text", "no certificate\n")
    local locked = ca:lock(mine.key_file, "s3cret")
    local cases = {
      { { ca_file = "/nowhere/ca.pem" }, { "tls.ca_file", "/nowhere/ca.pem", "No such file" } },
      { { ca_file = text }, { "tls.ca_file", text } },
      { { cert_file = mine.cert_file }, { "tls.key_file" } },
      { { key_file = mine.key_file }, { "tls.cert_file" } },
      { { cert_file = text, key_file = mine.key_file }, { "tls.cert_file", text } },
      { { cert_file = mine.cert_file, key_file = "/nowhere/key" }, { "tls.key_file", "/nowhere/key" } },
      { { cert_file = mine.cert_file, key_file = another.key_file }, { "tls.key_file", another.key_file } },
      { { cert_file = mine.cert_file, key_file = locked }, { locked, "pass phrase" } },
    }
    for _, case in ipairs(cases) do
      case[1].enabled = true
      assert_says("CONFIGURATION", case[2], try(server, { tls = case[1] }))
    end
  end)

  it("goes together with a login", function()
    local lines = certificates.server(ca:sign(), ca)
    lines[#lines + 1] = "authorization { user: ada, password: right }"
    local server = nats.start({ config = lines })
    servers[1] = server
    local tls = { ca_file = ca.ca_file }
    assert.equal("OK", (try(server, { user = "ada", password = "right", tls = tls })))
    assert_says("AUTH", { server.url }, try(server, { user = "ada", password = "wrong", tls = tls }))
  end)

  it("does not turn back to plain text when the server comes back without it", function()
    local made = ca:sign()
    local server = start(made)
    local conn = server:connect({ tls = { ca_file = ca.ca_file } })
    server:restart({})
    local data, _, code = conn:request("$JS.API.INFO", "", 1)
    assert.is_nil(data)
    assert.truthy(code == "CONNECTION" or code == "TIMEOUT", code)
    server:restart(certificates.server(made, ca))
    support.eventually(function() return conn:request("$JS.API.INFO", "", 1) end, 10, "an answer over TLS again")
    conn:close()
  end)
end)

describe("a URL", function()
  it("must be of NATS, and its port one", function()
    local cases = {
      ["http://127.0.0.1:4222"] = "nats://",
      ["ws://127.0.0.1:4222"] = "nats://",
      ["nats://127.0.0.1:99999"] = "port",
      ["nats://127.0.0.1:abc"] = "port",
    }
    for url, word in pairs(cases) do
      local conn, message, code = core.connect({ servers = { url } })
      assert.is_nil(conn)
      assert_says("CONFIGURATION", { word }, code, message)
    end
  end)
end)
