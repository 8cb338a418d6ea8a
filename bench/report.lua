-- report.lua -- the table, on the terminal and as Markdown.

local report = {}

local function figure(x)
  if math.abs(x) >= 10000 then return ("%.1fk"):format(x / 1000) end
  if math.abs(x) >= 100 then return ("%.0f"):format(x) end
  return ("%.2f"):format(x)
end

local function spread(s, unit)
  if not s then return "" end
  if s[1] == s[3] then return figure(s[2]) .. " " .. unit end
  return ("%s %s (%s..%s)"):format(figure(s[2]), unit, figure(s[1]), figure(s[3]))
end

-- The ratio is what is judged where there is one, else the figure itself.
local function judged(line)
  local value = (line.ratio or line.naq)[2]
  if line.target[1] == ">=" then return value >= line.target[2] end
  return value <= line.target[2]
end

local function cells(line)
  if line.broken then
    local sentence = line.broken:match("^%s*([^\n]*)")
    return { line.name, "not measured: " .. sentence, "", "", "", "" }
  end
  local target = line.target[1] .. " " .. (line.target_text or tostring(line.target[2]))
  return {
    line.name,
    spread(line.naq, line.unit),
    line.base and (line.base_name .. ": " .. spread(line.base, line.unit)) or "",
    line.ratio and ("%.2f (%.2f..%.2f)"):format(line.ratio[2], line.ratio[1], line.ratio[3]) or "",
    target,
    judged(line) and "ok" or "MISSED",
  }
end

local HEAD = { "row", "naq", "baseline", "ratio", "target", "" }

--- As soon as a row is done.
function report.line(line)
  io.stderr:write("   ", table.concat(cells(line), " | "), "\n")
  for _, note in ipairs(line.notes or {}) do io.stderr:write("     ", note, "\n") end
  if line.broken then io.stderr:write("     ", line.broken, "\n") end
end

local function width(text)
  return utf8.len(text) or #text
end

--- Rows of cells in columns.
---@param head string[]
---@param rows string[][]
---@param loose? table<integer, boolean>  rows that may stand out of the columns
function report.plain(out, head, rows, loose)
  local widths = {}
  local function widen(row)
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, width(cell)) end
  end
  widen(head)
  for k, row in ipairs(rows) do
    if not (loose and loose[k]) then widen(row) end
  end
  local function write(row)
    local padded = {}
    for i, cell in ipairs(row) do padded[i] = cell .. (" "):rep((widths[i] or 0) - width(cell)) end
    out:write((table.concat(padded, "  "):gsub("%s+$", "")), "\n")
  end
  write(head)
  for _, row in ipairs(rows) do write(row) end
end

function report.table(out, results)
  local rows, loose = {}, {}
  for k, line in ipairs(results) do
    -- The long sentence of one that could not be measured would push the columns apart.
    rows[k], loose[k] = cells(line), line.broken ~= nil
  end
  report.plain(out, HEAD, rows, loose)
end

--- Rows of cells as a table in Markdown.
function report.markdown(head, rows)
  local lines = { "| " .. table.concat(head, " | ") .. " |", "|" .. ("---|"):rep(#head) }
  for _, row in ipairs(rows) do lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |" end
  return table.concat(lines, "\n") .. "\n"
end

local function command_output(command)
  local pipe = assert(io.popen(command .. " 2>/dev/null"))
  local text = pipe:read("a"):gsub("%s+$", "")
  pipe:close()
  return text
end

local function machine()
  local model = command_output("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1")
  local cores = command_output("getconf _NPROCESSORS_ONLN")
  local memory = command_output("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")
  local system = command_output(". /etc/os-release && echo \"$PRETTY_NAME\"")
  return table.concat({
    ("%s cores of %s"):format(cores, model),
    ("%.0f GB"):format((tonumber(memory) or 0) / 1048576),
    system,
    "Linux " .. command_output("uname -r | cut -d- -f1"),
    command_output("nats-server --version | tr -d ':'"),
    "libnats " .. command_output("pkg-config --modversion libnats"),
    _VERSION,
    "server and clients on the loopback, file storage.",
  }, ", ")
end

--- When, of which revision and on what machine figures were taken.
function report.origin()
  local revision = command_output("git rev-parse --short HEAD")
  return ("%s, revision %s.\n%s"):format(os.date("!%Y-%m-%d"), revision, machine())
end

--- The whole table as Markdown, for a section of RESULTS.md.
function report.document(results, options)
  local rows = {}
  for k, line in ipairs(results) do rows[k] = cells(line) end
  local parts = {
    "\nWhat each row is says `bench/README.md`.\n",
    ("Median (smallest..largest) of %d rounds, naq and baseline in turn.\n\n"):format(options.rounds),
    report.origin(), "\n",
    options.load and ("Load average when it began: %.2f.\n"):format(options.load) or "",
    "\n", report.markdown(HEAD, rows), "\n",
  }
  for _, line in ipairs(results) do
    for _, note in ipairs(line.notes or {}) do parts[#parts + 1] = ("- %s: %s\n"):format(line.name, note) end
  end
  return table.concat(parts) .. "\n"
end

return report
