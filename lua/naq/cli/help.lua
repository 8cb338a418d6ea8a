-- help.lua: `--help` at every level, made from the commands' declarations, and what a misspelt name
-- is answered with.

local help = {}

local INTRO = [[
Usage: naq COMMAND [OPTION...] [ARGUMENT...]

naq runs Lua functions as jobs: programs put them on queues in NATS JetStream, workers take them
off and run them, on as many machines as you like.
]]

local REST = [[

Exit status: 0 done, 1 failed, 2 called wrongly, 3 no NATS server to talk to.

Try it, in three terminals or with & behind the first two:
   naq server
   naq worker --jobs jobs.lua
   naq enqueue hello --args '{"name":"Ada"}' --wait 10]]

-- How many single-character edits lead from a to b (two neighbours swapped are one edit).
local function distance(a, b)
  local before, row = {}, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local current = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      current[j] = math.min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        current[j] = math.min(current[j], before[j - 2] + 1)
      end
    end
    before, row = row, current
  end
  return row[#b]
end

--- The sentence for a command that does not exist, with the nearest that does.
---@param full string     as far as the user typed it
---@param name string
---@param names string[]
---@return string
function help.unknown(full, name, names)
  local best, best_distance
  for _, known in ipairs(names) do
    local d = distance(name, known)
    if known:sub(1, #name) == name then d = 0 end
    if not best or d < best_distance then
      best, best_distance = known, d
    end
  end
  local near = best_distance <= math.max(2, #name // 3)
  local hint = near and ("; did you mean '%s'?"):format(best) or ""
  return ("unknown command '%s'%s"):format(full, hint)
end

local WIDTH, MARGIN = 84, 3

local function wrap(text, width, indent)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and #line + 1 + #word > width then
      lines[#lines + 1], line = line, ""
    end
    line = line == "" and word or line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. (" "):rep(indent))
end

-- Names on the left, what they are on the right.
local function listing(rows)
  local left = 0
  for _, row in ipairs(rows) do
    left = math.max(left, #row[1])
  end
  local lines, indent = {}, MARGIN + left + 2
  for i, row in ipairs(rows) do
    local name = (" "):rep(MARGIN) .. row[1]
    lines[i] = name .. (" "):rep(indent - #name) .. wrap(row[2], WIDTH - indent, indent)
  end
  return table.concat(lines, "\n")
end

local function element_rows(arguments, ...)
  local rows = {}
  for _, argument in ipairs(arguments or {}) do
    rows[#rows + 1] = { argument[1]:upper(), argument.doc }
  end
  for _, list in ipairs({ ... }) do
    for _, option in ipairs(list) do
      local names = option[1]:gsub(" ", ", ")
      if names:sub(1, 2) == "--" then names = "    " .. names end
      rows[#rows + 1] = { option[2] and names .. " " .. option[2] or names, option.doc }
    end
  end
  return rows
end

--- `naq job show --help`.
---@param full string     "naq job show"
---@param command table
---@param common table    the options of every command
---@return string
function help.command(full, command, common)
  local usage = command.usage or ""
  if not usage:find("[OPTION...]", 1, true) then usage = usage .. " [OPTION...]" end
  local rows = element_rows(command.arguments, command.options or {}, common)
  local indent = (" "):rep(MARGIN)
  return table.concat({
    ("Usage: %s %s"):format(full, (usage:gsub("^ ", ""))),
    wrap(command.description, WIDTH, 0),
    listing(rows),
    "Example:\n" .. indent .. command.example:gsub("\n", "\n" .. indent),
  }, "\n\n")
end

--- `naq --help`.
---@param commands table  init.lua's list
---@param common table    the options of every command
---@return string
function help.all(commands, common)
  local rows = {}
  for i, entry in ipairs(commands) do
    local name = entry[1]
    if entry.group then name = ("%s %s"):format(name, table.concat(entry.group, "|")) end
    rows[i] = { name, entry[2] }
  end
  local everywhere = element_rows(nil, common, { { "--version", doc = "naq's version" } })
  return table.concat({
    INTRO,
    "Commands:",
    listing(rows),
    "\nOptions of every command, before or behind its name:",
    listing(everywhere),
    REST,
  }, "\n")
end

--- `naq job --help`: the commands of a group.
---@param full string     "naq job"
---@param entry table     its line in init.lua's list
---@param group table     its module
---@return string
function help.group(full, entry, group)
  local rows = {}
  for i, name in ipairs(entry.group) do
    rows[i] = { name, group[name].summary }
  end
  return table.concat({
    ("Usage: %s %s [OPTION...]"):format(full, table.concat(entry.group, "|")),
    ("%s: %s"):format(full, entry[2]),
    "Commands:\n" .. listing(rows),
    ("More about each: %s %s --help"):format(full, entry.group[1]),
  }, "\n\n")
end

return help
