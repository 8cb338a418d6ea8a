-- config_table_nats.lua -- the keys of the section nats: the part of config_table.lua that is about
-- connections. Pure.
local server_urls = require("naq.server_urls")

local list = {}
local function key(path, declared)
  declared.path = path
  list[#list + 1] = declared
end

local function not_empty(value) return value == "" and "must not be empty" or nil end

local SHORT, LONG = 0.001, 31536000 -- the core counts in milliseconds; nobody waits for more than a year

key("nats.servers", {
  type = { "strings", "string" },
  default = { "nats://127.0.0.1:4222" },
  check = server_urls.problem,
  normal = server_urls.list,
  secret = true,
  flat = "servers",
  env = { "NAQ_NATS_URL" },
  doc = "servers of one cluster: a list, or a string with commas",
})
key("nats.client_name", {
  type = "string",
  default = "naq",
  check = not_empty,
  flat = "client_name",
  env = { "NAQ_CLIENT_NAME" },
  doc = "how the server lists the connection",
})
key("nats.max_reconnect_attempts", {
  type = "integer",
  min = -1,
  max = 2147483647,
  default = -1,
  flat = "max_reconnect_attempts",
  env = { "NAQ_MAX_RECONNECT" },
  doc = "attempts for each server before a lost connection is given up; 0: none, -1: for ever",
})
key("nats.reconnect_time_wait", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 0.25,
  flat = "reconnect_time_wait",
  doc = "seconds before the first new attempt, backing off to 1",
})
key("nats.connection_timeout", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 5,
  flat = "connection_timeout",
  doc = "seconds that a server gets to answer when connecting",
})
key("nats.drain_timeout", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 30,
  flat = "drain_timeout",
  doc = "seconds that conn:drain() gives to what is on its way",
})
key("nats.flush_timeout", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 5,
  flat = "flush_timeout",
  doc = "seconds that conn:flush() waits",
})
key("nats.ping_interval", {
  type = "number",
  min = SHORT,
  max = LONG,
  default = 20,
  flat = "ping_interval",
  doc = "seconds between pings, by which a dead connection is noticed",
})
key("nats.max_outstanding_pings", {
  type = "integer",
  min = 1,
  max = 1000000,
  default = 2,
  flat = "max_outstanding_pings",
  doc = "unanswered pings before the connection counts as lost",
})
key("nats.pool_size", {
  type = "integer",
  min = 1,
  max = 1024,
  default = 4,
  flat = "pool_size",
  doc = "connections at most with the same servers and credentials, shared by all threads",
})
key("nats.replicas", {
  type = "integer",
  min = 1,
  max = 5,
  flat = "replicas",
  computed = "3 on a cluster of three or more, else 1",
  doc = "copies of the streams and buckets that are created",
})
key("nats.user", { type = "string", check = not_empty, flat = "user", doc = "user name" })
key("nats.password", { type = "string", flat = "password", secret = true, doc = "that user's password" })
key("nats.token", {
  type = "string",
  check = not_empty,
  flat = "token",
  secret = true,
  doc = "token, instead of a user",
})
key("nats.creds_file", {
  type = "string",
  check = not_empty,
  flat = "creds_file",
  doc = "credentials file: a JWT and its seed",
})
key("nats.nkey_seed_file", {
  type = "string",
  check = not_empty,
  flat = "nkey_seed_file",
  doc = "file with the seed of an NKey (SU...)",
})
key("nats.tls.enabled", {
  type = "boolean",
  computed = "true when a file below is set",
  doc = "whether the connection is encrypted",
})
key("nats.tls.ca_file", {
  type = "string",
  check = not_empty,
  computed = "the system's",
  doc = "certificates of the authorities to trust",
})
key("nats.tls.cert_file", { type = "string", check = not_empty, doc = "the client's own certificate" })
key("nats.tls.key_file", { type = "string", check = not_empty, doc = "its private key" })
key("nats.tls.verify", {
  type = "boolean",
  default = true,
  doc = "whether the server's certificate is checked",
})

---@type naq.ConfigKey[]
return list
