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

function report.table(out, results)
  local rows, widths = { HEAD }, {}
  for _, line in ipairs(results) do rows[#rows + 1] = cells(line) end
  for k, row in ipairs(rows) do
    local broken = k > 1 and results[k - 1].broken -- its long sentence would push the columns apart
    for i, cell in ipairs(broken and {} or row) do
      widths[i] = math.max(widths[i] or 0, width(cell))
    end
  end
  for _, row in ipairs(rows) do
    local padded = {}
    for i, cell in ipairs(row) do padded[i] = cell .. (" "):rep((widths[i] or 0) - width(cell)) end
    out:write((table.concat(padded, "  "):gsub("%s+$", "")), "\n")
  end
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

function report.document(out, results, options)
  out:write("# Results\n\n")
  out:write("Written by `bench/run --results`; `bench/README.md` says what each row is.\n")
  local rounds = "Median (smallest..largest) of %d rounds, naq and baseline in turn.\n\n"
  out:write(rounds:format(options.rounds))
  local revision = command_output("git rev-parse --short HEAD")
  out:write(os.date("!%Y-%m-%d"), ", revision ", revision, ".\n", machine(), "\n")
  if options.load then
    out:write(("Load average when it began: %.2f.\n"):format(options.load))
  end
  out:write("\n")
  out:write("| ", table.concat(HEAD, " | "), " |\n|", ("---|"):rep(#HEAD), "\n")
  for _, line in ipairs(results) do out:write("| ", table.concat(cells(line), " | "), " |\n") end
  out:write("\n")
  for _, line in ipairs(results) do
    for _, note in ipairs(line.notes or {}) do out:write("- ", line.name, ": ", note, "\n") end
  end
end

return report
