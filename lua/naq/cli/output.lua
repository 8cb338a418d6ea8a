-- output.lua: everything that commands print on standard output: JSON lines, tables that fit the
-- terminal, aligned fields, times. A reader that went away ends the command quietly.

local exit = require("naq.cli.exit")

local output = {}

local EPIPE = 32

--- Write and flush, or end the command: quietly when the reader closed the pipe (`naq ... | head`).
---@param text string
function output.write(text)
  local ok, message, number = io.stdout:write(text)
  if ok then
    ok, message, number = io.stdout:flush()
  end
  if ok then return end
  if number == EPIPE then exit.quietly(exit.BROKEN_PIPE) end
  exit.fail("cannot write to standard output: " .. tostring(message), "INVALID")
end

function output.line(...) output.write(table.concat({ ... }) .. "\n") end

-- JSON ------------------------------------------------------------------------------------------

--- One JSON object as a line, its members in the given order; those not listed are left out.
---@param keys string[]
---@param object table
function output.object(keys, object) output.line(output.encode(keys, object)) end

---@return string json
function output.encode(keys, object)
  local encode = require("naq.core").encode
  local members = {}
  for _, key in ipairs(keys) do
    local value = object[key]
    if value ~= nil then
      members[#members + 1] = ("%s:%s"):format(encode(key), exit.check(encode(value)))
    end
  end
  return "{" .. table.concat(members, ",") .. "}"
end

--- Any value as JSON on a line, exactly as it was enqueued.
function output.value(value) output.line((exit.check(require("naq.core").encode(value)))) end

-- The terminal ----------------------------------------------------------------------------------

local tty = {}

---@param fd integer  1 or 2
---@return boolean
function output.isatty(fd)
  if tty[fd] == nil then tty[fd] = require("naq.core").isatty(fd) end
  return tty[fd]
end

local STYLES = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33" }

--- Coloured on a terminal (unless NO_COLOR is set), plain elsewhere.
---@param text string
---@param style? "bold"|"dim"|"red"|"green"|"yellow"
---@return string
function output.style(text, style)
  if not style or text == "" or not output.isatty(1) then return text end
  if (os.getenv("NO_COLOR") or "") ~= "" then return text end
  return ("\27[%sm%s\27[0m"):format(STYLES[style], text)
end

---@return integer? columns  nil: no limit
local function terminal_width()
  if not output.isatty(1) then return nil end
  local columns = math.tointeger(tonumber(os.getenv("COLUMNS") or ""))
  if columns then return columns end
  local pipe = io.popen("stty size 2>/dev/null </dev/tty")
  local size = pipe and pipe:read("l")
  if pipe then pipe:close() end
  columns = size and math.tointeger(tonumber(size:match("%d+%s+(%d+)") or ""))
  return columns and columns > 0 and columns or 80
end

--- Ask before something is destroyed. Not on a terminal: yes, so that scripts work.
---@param question string
---@return boolean
function output.confirm(question)
  if not (require("naq.core").isatty(0) and output.isatty(2)) then return true end
  io.stderr:write(question, " [y/N] ")
  local answer = io.stdin:read("l") or ""
  return answer:lower():match("^%s*y") ~= nil
end

--- A line on a terminal that says what is being waited for; returns a function that removes it.
---@param text string
---@return fun()
function output.waiting(text)
  if not output.isatty(2) then return function() end end
  io.stderr:write(text)
  return function() io.stderr:write("\r\27[K") end
end

-- Tables ----------------------------------------------------------------------------------------

local function width_of(text) return utf8.len(text) or #text end

local function cut(text, width)
  if width_of(text) <= width then return text end
  local stop = utf8.offset(text, width) -- the character that becomes the ellipsis
  return (stop and text:sub(1, stop - 1) or text:sub(1, width - 1)) .. "…"
end

local function pad(text, width, right)
  local fill = (" "):rep(width - width_of(text))
  return right and fill .. text or text .. fill
end

local MIN_WIDTH, GAP = 6, 2

-- Narrow the widest of the columns that may be cut until the table fits.
local function fit(columns, widths, limit)
  local total = GAP * (#widths - 1)
  for _, width in ipairs(widths) do
    total = total + width
  end
  while total > limit do
    local widest
    for i, column in ipairs(columns) do
      local candidate = column.cut and widths[i] > MIN_WIDTH
      if candidate and (not widest or widths[i] > widths[widest]) then widest = i end
    end
    if not widest then return end
    widths[widest] = widths[widest] - 1
    total = total - 1
  end
end

---@class naq.cli.Column
---@field title string
---@field value fun(row: table): string
---@field right boolean?   numbers
---@field cut boolean?     may be shortened to fit the terminal
---@field style? fun(row: table): string?

---@param columns naq.cli.Column[]
---@param rows table[]
function output.table(columns, rows)
  local cells, widths = {}, {}
  for i, column in ipairs(columns) do
    widths[i] = width_of(column.title)
  end
  for r, row in ipairs(rows) do
    cells[r] = {}
    for i, column in ipairs(columns) do
      local text = exit.printable(tostring(column.value(row) or "-")):gsub("\n", " ")
      cells[r][i], widths[i] = text, math.max(widths[i], width_of(text))
    end
  end
  local limit = terminal_width()
  if limit then fit(columns, widths, limit) end

  local lines = {}
  local function add(texts, style)
    local line = {}
    for i, column in ipairs(columns) do
      local text = pad(cut(texts[i], widths[i]), widths[i], column.right)
      if i == #columns and not column.right then text = cut(texts[i], widths[i]) end
      line[i] = output.style(text, style(column))
    end
    lines[#lines + 1] = table.concat(line, (" "):rep(GAP))
  end
  local titles = {}
  for i, column in ipairs(columns) do
    titles[i] = column.title
  end
  add(titles, function() return "bold" end)
  for r, row in ipairs(rows) do
    add(cells[r], function(column) return column.style and column.style(row) end)
  end
  output.line(table.concat(lines, "\n"))
end

--- Text of a job for the terminal: its further lines indented, tabs as spaces, and no control
--- characters that would act on the terminal.
---@param text string
---@param indent string
---@return string
function output.indented(text, indent)
  return (exit.printable(text):gsub("\n", "\n" .. indent))
end

--- Aligned `name  value` lines; values that are nil are left out, further lines of one indented.
---@param pairs_list {[1]: string, [2]: string?, style: string?}[]
---@param indent? string
function output.fields(pairs_list, indent)
  indent = indent or ""
  local width = 0
  for _, field in ipairs(pairs_list) do
    if field[2] ~= nil then width = math.max(width, width_of(field[1])) end
  end
  local lines = {}
  for _, field in ipairs(pairs_list) do
    if field[2] ~= nil then
      local text = output.indented(tostring(field[2]), indent .. (" "):rep(width + GAP))
      lines[#lines + 1] = indent .. pad(field[1], width + GAP) .. output.style(text, field.style)
    end
  end
  output.line(table.concat(lines, "\n"))
end

-- Times -----------------------------------------------------------------------------------------

--- Epoch seconds as local ISO 8601 with milliseconds and zone.
---@param t? number
---@return string?
function output.time(t)
  if type(t) ~= "number" then return nil end
  local ms = math.floor(t * 1000 + 0.5)
  local zone = os.date("%z", ms // 1000):gsub("(%d%d)$", ":%1")
  return ("%s.%03d%s"):format(os.date("%Y-%m-%dT%H:%M:%S", ms // 1000), ms % 1000, zone)
end

--- A duration for people.
---@param seconds? number
---@return string?
function output.duration(seconds)
  if type(seconds) ~= "number" then return nil end
  if seconds < 0.001 then return ("%.0f µs"):format(seconds * 1e6) end
  if seconds < 1 then return ("%.3g ms"):format(seconds * 1000) end
  if seconds < 100 then return ("%.3g s"):format(seconds) end
  local minutes = seconds // 60
  if minutes < 120 then return ("%d min"):format(minutes) end
  if minutes < 48 * 60 then return ("%d h"):format(minutes // 60) end
  return ("%d days"):format(minutes // (24 * 60))
end

return output
