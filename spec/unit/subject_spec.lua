local subject = require("naq.subject")

describe("subject.covers()", function()
  it("is true where everything that the second matches is matched by the first", function()
    for _, pair in ipairs({
      { ">", "a" },
      { ">", ">" },
      { "a.>", "a.b" },
      { "a.>", "a.b.c" },
      { "a.>", "a.*" },
      { "a.*", "a.b" },
      { "a.*.c", "a.b.c" },
      { "a.b", "a.b" },
      { "*.>", "a.>" },
    }) do
      assert.is_true(subject.covers(pair[1], pair[2]), pair[1] .. " " .. pair[2])
    end
  end)

  it("is false where something is left over", function()
    for _, pair in ipairs({
      { "a", ">" },
      { "a.b", "a.*" },
      { "a.*", "a.>" },
      { "a.*", "a.b.c" },
      { "a.>", "a" },
      { "a.>", ">" },
      { "a.b", "a" },
      { "a", "a.b" },
      { "*.b", "a.*" },
    }) do
      assert.is_false(subject.covers(pair[1], pair[2]), pair[1] .. " " .. pair[2])
    end
  end)
end)

describe("subject.overlap()", function()
  it("is symmetric and true where both match something", function()
    for _, pair in ipairs({
      { "a.b", "a.b" },
      { "a.*", "*.b" },
      { ">", "x" },
      { "a.>", "*.b.c" },
      { "a.*.c", "a.b.>" },
    }) do
      assert.is_true(subject.overlap(pair[1], pair[2]), pair[1] .. " " .. pair[2])
      assert.is_true(subject.overlap(pair[2], pair[1]))
    end
  end)

  it("is false where nothing is matched by both", function()
    local apart = { { "a", "b" }, { "a.*", "b.*" }, { "a.>", "a" }, { "a.*", "a.b.c" }, { "a.b.>", "a.c.>" } }
    for _, pair in ipairs(apart) do
      assert.is_false(subject.overlap(pair[1], pair[2]), pair[1] .. " " .. pair[2])
      assert.is_false(subject.overlap(pair[2], pair[1]))
    end
  end)
end)
