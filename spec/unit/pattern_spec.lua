local options = require("naq.options")
local pattern = require("naq.pattern")
local policy = require("naq.policy")

describe("pattern.problem()", function()
  it("finds nothing wrong with patterns", function()
    for _, text in ipairs({
      "", "plain", "^timeout after %d+ s$", "[abc]", "[^]]", "[]x]", "[%]]", "[a-z_]*", "(a)(b)%2%1", "()x", "%b()",
      "%f[%w]word%f[%W]", "100%%", "a.b", "x-", "$", "^", "((a)b)%2", "]", "[[]", "%[",
    }) do
      assert.is_nil(pattern.problem(text), text)
      assert.is_true(pcall(string.find, "some text", text), text)
    end
  end)

  it("names what is wrong, wherever it stands", function()
    local cases = {
      ["100%"] = "ends with '%'",
      ["a["] = "no ']'",
      ["never reached ["] = "no ']'",
      ["[a"] = "no ']'",
      ["[]"] = "no ']'",
      ["[^]"] = "no ']'",
      ["[%]"] = "no ']'",
      ["x%f"] = "needs a set",
      ["x%fa"] = "needs a set",
      ["x%f["] = "no ']'",
      ["x%b("] = "two characters",
      ["(a"] = "no ')'",
      ["a)"] = "no '('",
      ["(a))"] = "no '('",
      ["(a)%2"] = "'%2' refers to no capture",
      ["(a%1)"] = "'%1' refers to no capture",
      ["%0"] = "'%0' refers to no capture",
      [("()"):rep(33)] = "too many captures",
    }
    for text, problem in pairs(cases) do
      assert.matches(problem, pattern.problem(text) or "nothing", 1, true)
    end
  end)

  it("agrees with string.find() about patterns made at random", function()
    local parts = { "a", "b", "%", "[", "]", "(", ")", "^", "$", "-", "*", ".", "%d", "%b", "%f", "%1", "[^a]" }
    local valid = 0
    for seed = 1, 5000 do
      local text, n = {}, seed
      for i = 1, 1 + seed % 6 do
        n = (n * 1103515245 + 12345) % 2147483648
        text[i] = parts[1 + math.floor(n / 65536) % #parts]
      end
      local made = table.concat(text)
      if not pattern.problem(made) then
        valid = valid + 1
        for _, subject in ipairs({ "", "a", "ab", "abba%[](1)", "(a)b]" }) do
          local fine, message = pcall(string.find, subject, made)
          assert.is_true(fine, ("%s in %s: %s"):format(made, subject, tostring(message)))
        end
      end
    end
    assert.is_true(valid > 500, valid .. " of them were valid")
  end)
end)

describe("retry_on and ignore_on", function()
  it("are refused where they are written down when one is no pattern", function()
    for _, name in ipairs({ "retry_on", "ignore_on" }) do
      local fine, message = pcall(options.apply, policy.DECLARATION, { [name] = { "FINE", "100%" } }, 1)
      assert.is_false(fine)
      local told = ("option '%s' holds '100%%', which is no Lua pattern: it ends with '%%'"):format(name)
      assert.matches(told, message, 1, true)
    end
  end)
end)
