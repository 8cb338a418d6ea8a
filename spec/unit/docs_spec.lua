-- Examples in the documentation that can be judged without a server: Lua compiles, JSON decodes. The
-- marked ones are run by spec/nats/docs_spec.lua.

local connection_scan = require("naq.connection_scan")
local core = require("naq.core")
local support = require("spec.support")
local markdown = require("spec.support.markdown")

local compile = loadstring or load -- luacheck: ignore 113

describe("an example in the documentation", function()
  for _, path in ipairs(markdown.documents(support.root)) do
    for _, block in ipairs(markdown.read(support.root, path)) do
      local where = ("%s:%d"):format(path, block.line)
      if block.language == "lua" and block.directive ~= "sketch" then
        -- Lua 5.4's attribs do not exist on the others.
        local only54 = block.text:find("<close>", 1, true) and _VERSION ~= "Lua 5.4"
        if not only54 then
          it("compiles: " .. where, function() assert(compile(block.text, "=" .. where)) end)
        end
        it("gives back its connections: " .. where, function()
          for _, use in ipairs(assert(connection_scan.scan(block.text))) do
            assert(not use.change, ("%s, its line %d: %s"):format(where, use.line, use.why))
          end
        end)
      elseif block.language == "json" then
        it("is JSON: " .. where, function() assert(core.decode(block.text)) end)
      end
    end
  end
end)

describe("markdown.blocks()", function()
  it("finds blocks, their lines and what is asked of them", function()
    local text = "a\n\n<!-- test: run -->\n```lua\nx = 1\n```\n"
      .. "```sh\ny\n```\n<!-- test: file j.lua -->\n```lua\n```\n"
    local blocks = markdown.blocks(text)
    assert.equal(3, #blocks)
    assert.same({ "lua", 4, "x = 1\n", "run" }, {
      blocks[1].language,
      blocks[1].line,
      blocks[1].text,
      blocks[1].directive,
    })
    assert.is_nil(blocks[2].directive)
    assert.equal("j.lua", blocks[3].name)
  end)

  it("refuses a block without its end and a directive it does not know", function()
    assert.has_error(function() markdown.blocks("```lua\nx") end)
    assert.has_error(function() markdown.blocks("<!-- test: -->\n") end)
  end)
end)
