local service_registry = require("naq.service_registry")

describe("a registry of services", function()
  local registry, trail

  before_each(function()
    registry, trail = service_registry.new(), {}
  end)

  --- A service that leaves a word in the trail; more: start or stop of its own.
  local function add(name, needs, more)
    more = more or {}
    registry:register(name, {
      needs = needs,
      start = function(given)
        trail[#trail + 1] = "+" .. name
        if more.start then return more.start(given) end
        return name .. "'s value"
      end,
      stop = function(value)
        trail[#trail + 1] = "-" .. name
        if more.stop then more.stop(value) end
      end,
    }, 1)
  end

  local function story()
    local text = table.concat(trail, " ")
    trail = {}
    return text
  end

  it("starts a service when it is first used, after what it needs, once", function()
    local got
    add("a")
    add("b", { "a" })
    add("unused")
    add("c", { "b", "a" }, { start = function(needs)
      got = needs
      return "c"
    end })
    assert.equal("", story())
    assert.equal("c", registry:get("c", 1))
    assert.equal("+a +b +c", story())
    assert.same({ a = "a's value", b = "b's value" }, got)
    assert.equal("c", registry:get("c", 1))
    assert.equal("a's value", registry:get("a", 1))
    assert.equal("", story())
  end)

  it("stops them in reverse, twice without harm, and raises when used after that", function()
    add("a")
    add("b", { "a" })
    add("c")
    registry:get("c", 1)
    registry:get("b", 1)
    assert.is_true(registry:close())
    assert.equal("+c +a +b -b -a -c", story())
    assert.is_true(registry:close())
    assert.equal("", story())
    assert.error_matches(function() registry:get("a", 1) end, "these services are closed")
  end)

  it("stops one with what needs it, and starts it again", function()
    add("a")
    add("b", { "a" })
    add("c", { "b" })
    add("other")
    registry:get("other", 1)
    registry:get("c", 1)
    story()
    assert.is_true(registry:stop("a"))
    assert.equal("-c -b -a", story())
    assert.is_true(registry:runs("other"))
    assert.is_true(registry:stop("a"))
    registry:get("b", 1)
    assert.equal("+a +b", story())
  end)

  it("leaves nothing open when one fails to start", function()
    add("a")
    add("b", { "a" })
    add("broken", { "b" }, { start = function() return nil, "no luck", "TIMEOUT" end })
    add("top", { "broken" })
    local value, message, code = registry:get("top", 1)
    assert.is_nil(value)
    assert.equal("service broken: no luck", message)
    assert.equal("TIMEOUT", code)
    assert.equal("+a +b +broken -b -a", story())
    registry:get("a", 1)
    story()
    assert.is_nil((registry:get("top", 1))) -- and may be tried again; what ran before goes on running
    assert.equal("+b +broken -b", story())
    assert.is_true(registry:runs("a"))
  end)

  it("leaves nothing open when a start raises, and lets the error through", function()
    local broken = true
    add("a")
    add("b", { "a" }, { start = function()
      if broken then error("oh no") end
      return "b"
    end })
    assert.error_matches(function() registry:get("b", 1) end, "oh no$")
    assert.equal("+a +b -a", story())
    broken = false
    assert.equal("b", registry:get("b", 1))
  end)

  it("takes true for the value of a start that returns nothing, and false for itself", function()
    add("a", {}, { start = function() end })
    add("b", { "a" }, { start = function(needs) return not needs.a end })
    assert.is_true(registry:get("a", 1))
    assert.is_false(registry:get("b", 1))
    assert.is_false(registry:get("b", 1))
    assert.equal("+a +b", story())
  end)

  it("calls every stop, and tells the first that raised", function()
    add("a", {}, { stop = function() error("a stays", 0) end })
    add("b", { "a" }, { stop = function() error("b stays", 0) end })
    add("c", { "b" })
    registry:get("c", 1)
    story()
    local done, message, code = registry:close()
    assert.is_nil(done)
    assert.equal("service b did not stop: b stays", message)
    assert.equal("INVALID", code)
    assert.equal("-c -b -a", story())
    assert.is_true(registry:close())
  end)

  it("refuses services that need each other, with the way around", function()
    add("a", { "c" })
    add("b", { "a" })
    assert.error_matches(function() add("c", { "b" }) end, "services cannot need each other: c %-> b %-> a %-> c$")
    assert.error_matches(function() add("self", { "self" }) end, "need each other: self %-> self$")
    add("c") -- the name is free as before
    registry:get("b", 1)
    assert.equal("+c +a +b", story())
  end)

  it("refuses a need that nobody registered, once it is used", function()
    add("a", { "conection" })
    add("connection")
    assert.error_matches(
      function() registry:get("a", 1) end,
      "service 'a' needs 'conection', which is not registered %(did you mean 'connection'%?%)"
    )
    assert.equal("", story())
    assert.error_matches(function() registry:get("conection", 1) end, "unknown service 'conection' %(did you mean")
  end)

  it("refuses a service that asks for itself while it starts", function()
    add("a", {}, { start = function() return registry:get("b", 1) end })
    add("b", {}, { start = function() return registry:get("a", 1) end })
    assert.error_matches(function() registry:get("a", 1) end, "service 'a' is asked for while it starts")
    assert.equal("+a +b", story())
    assert.is_false(registry:runs("b"))
  end)

  it("stops what a failed start took by itself, and keeps what a good one took", function()
    local fails = true
    add("tool")
    add("a", {}, { start = function()
      registry:get("tool", 1)
      if fails then return nil, "later" end
      return "a"
    end })
    assert.is_nil((registry:get("a", 1)))
    assert.equal("+a +tool -tool", story())
    fails = false
    assert.equal("a", registry:get("a", 1))
    registry:close()
    assert.equal("+a +tool -a -tool", story())
  end)

  it("keeps nothing that was closed while it started", function()
    add("a", {}, { start = function()
      registry:close()
      return "a"
    end })
    local value, message, code = registry:get("a", 1)
    assert.is_nil(value)
    assert.equal("service a: closed while it started", message)
    assert.equal("CLOSED", code)
    assert.equal("+a -a", story())
  end)

  it("raises for definitions that are none", function()
    local function refused(name, definition)
      local _, message = pcall(function() registry:register(name, definition, 1) end)
      return message
    end
    assert.matches("a service's name must be a string", refused("", {}))
    assert.matches("service 'a' has no start function", refused("a", {}))
    assert.matches("option 'needs' must be a list of strings", refused("a", { needs = "b" }))
    assert.matches("option 'start' must be a function", refused("a", { start = 3 }))
    assert.matches("unknown option 'strat' %(did you mean 'start'%?%)", refused("a", { strat = print }))
    assert.matches("options must be a table", refused("a", print))
    add("a")
    assert.matches("there is a service 'a' already", refused("a", { start = print }))
    assert.matches("^[^\n]*service_registry_spec.lua:%d+:", refused("a", { start = print }))
  end)
end)
