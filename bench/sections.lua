-- sections.lua -- RESULTS.md in sections, each written by one program: what others wrote, and what people
-- wrote between them, stays as it is.
--
--   <!-- section NAME: written by PROGRAM -->
--   ...
--   <!-- end NAME -->
local sections = {}

local function plain(text) return (text:gsub("%W", "%%%0")) end

--- A document with one section's text replaced, or added at the end.
---@param document string
---@param name string
---@param program string  named in the section's first line
---@param text string
---@return string
function sections.replace(document, name, program, text)
  local section = ("<!-- section %s: written by %s -->\n%s<!-- end %s -->"):format(name, program, text, name)
  local pattern = ("<!%%-%%- section %s: .-<!%%-%%- end %s %%-%%->"):format(plain(name), plain(name))
  local from, to = document:find(pattern)
  if from then return document:sub(1, from - 1) .. section .. document:sub(to + 1) end
  if document == "" then document = "# Results\n" end
  return document .. "\n" .. section .. "\n"
end

--- The same in a file, which is made when it is not there.
---@param path string
function sections.write(path, name, program, text)
  local file = io.open(path, "rb")
  local document = file and file:read("a") or ""
  if file then file:close() end
  file = assert(io.open(path, "wb"))
  assert(file:write(sections.replace(document, name, program, text)))
  assert(file:close())
end

return sections
