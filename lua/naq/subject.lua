-- subject.lua -- how two subjects with wildcards stand to each other. Pure.

local subject = {}

local function tokens(text)
  local list = {}
  for token in (text .. "."):gmatch("([^.]*)%.") do
    list[#list + 1] = token
  end
  return list
end

--- Whether everything that `narrow` matches is matched by `wide` too.
---@return boolean
function subject.covers(wide, narrow)
  local w, n = tokens(wide), tokens(narrow)
  for i = 1, #w do
    if w[i] == ">" then return #n >= i end
    if n[i] == nil or n[i] == ">" then return false end
    if w[i] ~= "*" and w[i] ~= n[i] then return false end
  end
  return #w == #n
end

--- Whether there is a subject that both match.
---@return boolean
function subject.overlap(a, b)
  local x, y = tokens(a), tokens(b)
  local i = 1
  while true do
    if x[i] == ">" then return #y >= i end
    if y[i] == ">" then return #x >= i end
    if x[i] == nil or y[i] == nil then return x[i] == y[i] end
    if x[i] ~= y[i] and x[i] ~= "*" and y[i] ~= "*" then return false end
    i = i + 1
  end
end

return subject
