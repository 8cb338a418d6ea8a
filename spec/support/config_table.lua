-- The tables of docs/configuration.md as they follow from the table of keys: a section's rows.
--
-- When the keys change, `naq run spec/support/config_table.lua` prints what belongs there.

local keys = require("naq.config_keys")
local listing = require("naq.config_listing")

local config_table = {}

local function type_of(k)
  if k.path == "nats.servers" then return "list" end
  if k.path:find("memory_limit$") or k.path:find("max_bytes$") then return "bytes" end
  if k.path:find("rate_limit$") then return "rate" end
  if type(k.type) == "table" then return "number or list" end
  if k.type == "strings" then return "list" end
  return ({ integer = "whole number", boolean = "true, false" })[k.type] or k.type
end

local function default_of(k)
  if k.computed then return k.computed end
  if k.default == nil then return "" end
  return "`" .. listing.yaml(k.default) .. "`"
end

local function variables_of(k)
  local names = {}
  for i = 2, #k.env do
    names[#names + 1] = "`" .. k.env[i] .. "`"
  end
  return table.concat(names, ", ")
end

local function meaning_of(k)
  local text = k.doc
  if k.one_of then text = text .. ": `" .. table.concat(k.one_of, "`, `") .. "`" end
  if k.later then text = ("%s. For %s; not used by this version"):format(text, k.later) end
  return text
end

--- The rows of one section, one string.
---@param section string  its first name
---@return string
function config_table.rows(section)
  local rows = {}
  for _, k in ipairs(keys.LIST) do
    if k.path:match("^[^.]+") == section then
      rows[#rows + 1] = ("| `%s` | %s | %s | %s | %s | %s |"):format(
        k.path:gsub("%*", "NAME"),
        type_of(k),
        default_of(k),
        k.flat and "`" .. k.flat .. "`" or "",
        variables_of(k),
        meaning_of(k)
      )
    end
  end
  return table.concat(rows, "\n")
end

if not ... then
  for _, section in ipairs(keys.SECTIONS) do
    print(("### %s\n\n%s\n"):format(section, config_table.rows(section)))
  end
end

return config_table
