-- docs/configuration.md and `naq config init` against the table of keys: nothing missing, nothing that is
-- not there any more.

local config = require("naq.config")
local config_table = require("spec.support.config_table")
local core = require("naq.core")
local keys = require("naq.config_keys")
local listing = require("naq.config_listing")
local support = require("spec.support")
local markdown = require("spec.support.markdown")

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

--- What is wrong with a file of that text, and what it sets.
local function check(text, environment)
  local dir = assert(core.mkdtemp("naq-spec-config"))
  local path = dir .. "/naq.yaml"
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  local function getenv(name) return (environment or {})[name] end
  local problems = config.problems({ config = path }, getenv)
  local resolved = config.resolve({ config = path }, 1, getenv)
  core.rmtree(dir)
  for i, problem in ipairs(problems) do
    problems[i] = ("%s: %s"):format(problem.line or "?", problem.message)
  end
  return table.concat(problems, "\n"), resolved
end

describe("docs/configuration.md", function()
  local text = read(support.root .. "/docs/configuration.md")

  for _, section in ipairs(keys.SECTIONS) do
    it("has exactly the keys of " .. section, function()
      local rows = {}
      for row in text:gmatch("| `" .. section .. "%.[^\n]*|") do
        rows[#rows + 1] = row
      end
      assert.equal(config_table.rows(section), table.concat(rows, "\n"))
    end)
  end
end)

describe("a YAML example in the documentation", function()
  for _, path in ipairs(markdown.documents(support.root)) do
    for _, block in ipairs(markdown.read(support.root, path)) do
      if block.language == "yaml" then
        it(("is a configuration: %s:%d"):format(path, block.line), function()
          local environment = { NATS_PASSWORD = "x", NATS_URL = "nats://x", NATS_USER = "x" }
          assert.equal("", (check(block.text, environment)))
          for chosen in (block.text:match("\nenvironments:.*$") or ""):gmatch("\n  (%a+):") do
            environment.NAQ_ENVIRONMENT = chosen
            assert.equal("", (check(block.text, environment)))
          end
        end)
      end
    end
  end
end)

describe("the file of naq config init", function()
  local template = listing.template()

  it("changes nothing", function()
    local problems, resolved = check(template)
    assert.equal("", problems)
    local plain = assert(config.resolve({ config = false }, 1, function() end))
    for _, c in ipairs({ resolved, plain }) do
      c.sources, c.file = nil, nil
    end
    assert.same(plain, resolved)
  end)

  it("has every key, those without a default as comments", function()
    for _, k in ipairs(keys.LIST) do
      if not k.path:find("*", 1, true) then
        local name = k.path:match("[^.]+$")
        local mark = k.default == nil and "# " or ""
        assert.truthy(template:find("\n +" .. mark .. name .. ":"), k.path)
      end
    end
  end)

  it("is a configuration with the comments of its keys taken away, too", function()
    local text = template:gsub("\n(%s+)# (%a[%w_]*:)\n", "\n%1%2\n")
    assert.not_equal(template, text)
    assert.equal("", (check(text)))
    local tail = template:match("\n# environments:.*$"):gsub("\n# ", "\n")
    local environment = { NAQ_ENVIRONMENT = "production", NATS_PASSWORD = "x", NAQ_NATS_USER = "u" }
    assert.equal("", (check(template .. tail, environment)))
  end)
end)

describe("naq config show's lines", function()
  it("are a configuration that says the same", function()
    local given = {
      config = false,
      servers = { "nats://a:1", "tls://b" },
      user = "no",
      client_name = "a: b #c 'd'",
      log_file = "/tmp/a b",
      prefix = "1e3",
      queues = { configs = { mail = { ack_wait = 2.5, rate_limit = "10/s" }, ["9"] = { paused = true } } },
    }
    local resolved = assert(config.resolve(given, 1, function() end))
    local problems, again = check(listing.document(listing.leaves(resolved)) .. "\n")
    assert.equal("", problems)
    for _, c in ipairs({ resolved, again }) do
      c.sources, c.file = nil, nil
    end
    assert.same(resolved, again)
  end)

  it("hide what is secret", function()
    local resolved = assert(config.resolve({
      config = false,
      servers = { "nats://u:hunter2@a", "nats://hunter2@b", "tls://u:hun@hunter2@c", "nats://d" },
      user = "u",
      password = "hunter2",
      token = "hunter2",
    }, 1, function() end))
    local text = listing.document(listing.leaves(resolved))
    assert.not_matches("hun", text)
    assert.truthy(text:find("servers: ['nats://***@a', 'nats://***@b', 'tls://***@c', nats://d]", 1, true))
    assert.truthy(text:find("password: '***'", 1, true))
  end)
end)
