-- quantity.lua -- numbers with a unit, as people write them: 64MB, 100/s. And text as the number, truth or
-- list that a declaration asks for. Pure.
local core = require("naq.core")

local quantity = {}

local function whole(n)
  -- %d makes an integer of 3.0 on Lua 5.4; beyond 2^53 a double names no single integer.
  if n % 1 ~= 0 or n < -2 ^ 53 or n > 2 ^ 53 then return nil end
  return tonumber(("%d"):format(n))
end

--- 67108864, "64MB" (64 * 2^20), "1.5 GB": the number of bytes, or nil. The core reads them in payloads.
---@param value number|string
---@return integer?
function quantity.bytes(value)
  if type(value) == "number" then return value >= 1 and whole(value) or nil end
  if type(value) ~= "string" then return nil end
  local n = core.bytes(value:match("^%s*(.-)%s*$"))
  if not n or n < 1 then return nil end
  return whole(n - n % 1)
end

--- What is wrong with a number of bytes, or nil.
---@return string?
function quantity.bytes_problem(value)
  if quantity.bytes(value) then return nil end
  return ("must be a number of bytes, or one like 64MB, not '%s'"):format(tostring(value))
end

local PERIODS = { s = 1, m = 60, h = 3600 }

--- 100, "100/s", "600/m", "1000/h": how many a second, or nil.
---@param value number|string
---@return number?
function quantity.rate(value)
  local per_second
  if type(value) == "number" then
    per_second = value
  elseif type(value) == "string" then
    local digits, period = value:match("^%s*(%d+%.?%d*)%s*/%s*([smh])%s*$")
    per_second = digits and PERIODS[period] and tonumber(digits) / PERIODS[period]
  end
  if not per_second or per_second <= 0 or per_second == math.huge then return nil end
  return per_second
end

local TRUTHS = {
  ["true"] = true,
  yes = true,
  on = true,
  ["1"] = true,
  ["false"] = false,
  no = false,
  off = false,
  ["0"] = false,
}

local function wants(declared, name)
  if type(declared) == "string" then return declared == name end
  for i = 1, #declared do
    if declared[i] == name then return true end
  end
  return false
end

--- What is wrong with a rate, or nil.
---@return string?
function quantity.rate_problem(value)
  if quantity.rate(value) then return nil end
  return ("must be a number a second, or one like 100/s or 600/m, not '%s'"):format(tostring(value))
end

-- The items of a list in one text, nil where one of them does not fit.
local function items(text, convert)
  local list = {}
  for item in text:gmatch("[^,%s]+") do
    list[#list + 1] = convert(item)
    if list[#list] == nil then return nil end
  end
  return list
end

--- Text as a value of that type; text that does not fit stays text, for the check to refuse.
---@param declared string|string[]  the type of an option (options.lua)
---@param text string
---@return any
function quantity.from_text(declared, text)
  if wants(declared, "integer") or wants(declared, "number") then
    local n = tonumber(text)
    if n then return wants(declared, "integer") and whole(n) or n end
  end
  if wants(declared, "numbers") then return items(text, tonumber) or text end
  if declared == "strings" then return items(text, tostring) end
  if wants(declared, "boolean") then
    local truth = TRUTHS[text:lower()]
    if truth ~= nil then return truth end
  end
  return text
end

return quantity
