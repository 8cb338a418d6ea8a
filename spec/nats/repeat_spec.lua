-- A publish that is sent again, to a server that has forgotten the Msg-Id of its first try and not the message.

local core = require("naq.core")
local naq = require("naq")
local support = require("spec.support")
local holder = require("spec.support.holder")
local sieve = require("spec.support.sieve")
local eventually, nats, process = support.eventually, support.nats, support.process

local ONE_EACH = {
  subjects = { "s.*" },
  max_msgs_per_subject = 1,
  discard = "new",
  discard_new_per_subject = true,
  duplicate_window = 0.1, -- what a kill does only now and then
}

describe("a publish whose ack is lost and whose Msg-Id is forgotten", function()
  local server, js, proxies
  local function keep_back(...)
    local proxy = sieve.start(...)
    proxies[#proxies + 1] = proxy
    return proxy
  end
  local function through(proxy) return assert(naq.connection({ servers = proxy.url })):jetstream() end

  setup(function() server = nats.start() end)
  teardown(function() server:stop() end)
  before_each(function()
    proxies = {}
    js = server:connection():jetstream()
    assert(js:add_stream("S", ONE_EACH))
  end)
  after_each(function()
    assert(js:delete_stream("S"))
    js.connection:close()
    for _, proxy in ipairs(proxies) do
      proxy.stop()
    end
  end)
  local function count() return js:stream_info("S").state.messages end

  it("is stored", function()
    local proxy = keep_back(server.port, "server", '"stream":"S"', 1)
    local mine = through(proxy)
    local seq, duplicate = mine:publish("s.a", "x", { msg_id = "a" })
    assert.same({ 1, false }, { seq, duplicate })
    assert.same({ 1, 1 }, { count(), proxy.kept() })
    mine.connection:close()
  end)

  it("is stored, as one of many", function()
    local proxy = keep_back(server.port, "server", '"stream":"S"', 30)
    local mine = through(proxy)
    for i = 1, 100 do
      assert(mine:publish_async("s." .. i, "x", { msg_id = tostring(i) }))
    end
    assert.same({ 100, {}, 0 }, { mine:await(20) })
    assert.same({ 100, 30 }, { count(), proxy.kept() })
    mine.connection:close()
  end)

  it("is refused where another's has its place", function()
    assert(js:publish("s.a", "other", { msg_id = "other" }))
    local proxy = keep_back(server.port, "client", "PUB s.[ab]", 2)
    local mine = through(proxy)
    local seq, message, code = mine:publish("s.a", "x", { msg_id = "a" })
    assert.same({ nil, "DUPLICATE" }, { seq, code })
    assert.matches("maximum messages per subject exceeded", message)
    assert(js:publish("s.b", "other", { msg_id = "other b" }))
    assert(mine:publish_async("s.b", "x", { msg_id = "b" }))
    local stored, errors = mine:await(20)
    assert.same({ 0, "DUPLICATE" }, { stored, errors[2] and errors[2].code or errors[1].code })
    assert.equal(2, proxy.kept())
    mine.connection:close()
  end)

  it("is stored where another's had its place until just now", function()
    local first = keep_back(server.port, "client", "PUB s.a", 1)
    local second = holder.start(first.port, "STREAM.NAMES")
    proxies[#proxies + 1] = second
    assert(js:publish("s.a", "other", { msg_id = "other" }))
    local folder = assert(core.mkdtemp("naq-spec-repeat"))
    local file = assert(io.open(folder .. "/program.lua", "wb"))
    file:write([[
local js = assert(require("naq").connection({ servers = ... })):jetstream()
print((assert(js:publish("s.a", "x", { msg_id = "a" }))))
]])
    file:close()
    local program = process.start({ "run", folder .. "/program.lua", second.url })
    second.holds() -- it asks whose message that is
    assert(js:delete_msg("S", 1))
    second.pass()
    program:ends(0, 20)
    assert.equal("2\n", program:stdout())
    assert.equal("x", js:get_msg("S", "s.a").data)
    core.rmtree(folder)
  end)

  it("is not given up for a server that is away when it is to tell", function()
    local first = keep_back(server.port, "server", '"stream":"S"', 20)
    local mine = through(keep_back(first.port, "server", '"streams":', 1))
    for i = 1, 20 do
      assert(mine:publish_async("s." .. i, "x", { msg_id = tostring(i) }))
    end
    assert.same({ 20, {}, 0 }, { mine:await(25) })
    eventually(function() return count() == 20 end, 5)
    mine.connection:close()
  end)
end)
