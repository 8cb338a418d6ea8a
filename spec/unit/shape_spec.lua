require("spec.support")
local core = require("naq.core")
local shape = require("naq.shape")

describe("shape", function()
  it("lets through what is as it should be", function()
    assert.equal("x", shape.text("x"))
    assert.equal(1.5, shape.time(1.5))
    assert.equal(253402300799, shape.time(253402300799))
    assert.equal(3, shape.count(3.0))
    assert.equal("3", ("%d"):format(shape.count(3.0)))
    assert.equal(0, shape.count(0))
    local failure = { code = "A", message = "why", traceback = "where" }
    assert.same(failure, shape.failure(failure))
    local attempt = {
      attempt = 1, worker = "w", started_at = 1.5, finished_at = 2, code = "A", message = "m", traceback = "t",
    }
    assert.same({ attempt }, shape.attempts({ attempt }))
    assert.equal("[]", core.encode(shape.attempts({})))
  end)

  it("leaves out the rest", function()
    for _, value in ipairs({ core.null, {}, true, 5 }) do
      assert.is_nil(shape.text(value))
    end
    for _, value in ipairs({ core.null, {}, "5", -1, 253402300800, 1e300, 1 / 0, 0 / 0 }) do
      assert.is_nil(shape.time(value))
    end
    for _, value in ipairs({ core.null, {}, "5", -1, 1.5, 1e300, 1 / 0, 0 / 0 }) do
      assert.is_nil(shape.count(value))
    end
    assert.is_nil(shape.count(0, 1))
    for _, value in ipairs({ core.null, {}, "x", 5, { code = 5, message = {} } }) do
      assert.is_nil(shape.failure(value))
    end
    assert.same({ code = "A" }, shape.failure({ code = "A", message = 5, traceback = core.null }))
    assert.is_nil(shape.attempts(core.null))
    assert.is_nil(shape.attempts("none"))
    assert.same({ { code = "A" } }, shape.attempts({
      1, "x", core.null, { code = "A", attempt = "one", worker = {}, started_at = "x", message = 5, other = 1 },
    }))
  end)
end)
