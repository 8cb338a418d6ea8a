-- The fenced code blocks of a Markdown file, with what the line above a fence asks of the specs:
--
--   <!-- test: run -->          run the block: Lua with `naq run`, sh with `bash -e`
--   <!-- test: file NAME -->    put it into the document's folder under that name; a jobs.lua gets a worker
--   <!-- test: sketch -->       Lua that is no whole chunk: not even compiled
--
-- Every other Lua block is compiled, every json block decoded.

local markdown = {}

---@class spec.Block
---@field language string
---@field text string
---@field line integer      of the opening fence
---@field directive "run"|"file"|"sketch"|nil
---@field name string?      of a file

--- All fenced blocks of a text, in order.
---@return spec.Block[]
function markdown.blocks(text)
  local blocks, open, directive, name, number = {}, nil, nil, nil, 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    if open then
      if line:match("^```%s*$") then
        open.text = table.concat(open.lines, "\n") .. "\n"
        blocks[#blocks + 1] = open
        open = nil
      else
        open.lines[#open.lines + 1] = line
      end
    elseif line:match("^```") then
      open = { language = line:match("^```(%w*)"), line = number, lines = {} }
      open.directive, open.name = directive, name
      directive, name = nil, nil
    elseif line:match("^<!%-%-%s*test:") then
      directive, name = line:match("^<!%-%-%s*test:%s*(%w+)%s*(%S-)%s*%-%->%s*$")
      if not directive then error(("line %d: %s is no directive"):format(number, line)) end
    elseif line:match("%S") then
      directive, name = nil, nil
    end
  end
  if open then error(("line %d: a code block without its end"):format(open.line)) end
  return blocks
end

--- The documents that have examples, from the root of the tree.
function markdown.documents(root)
  local list = {}
  local p = assert(io.popen(("cd '%s' && ls README.md docs/*.md"):format(root)))
  for path in p:lines() do
    list[#list + 1] = path
  end
  p:close()
  return list
end

--- The blocks of one document.
function markdown.read(root, path)
  local f = assert(io.open(root .. "/" .. path, "rb"))
  local text = f:read("*a")
  f:close()
  return markdown.blocks(text)
end

return markdown
