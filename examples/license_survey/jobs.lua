-- jobs.lua -- one job: which licences does one Debian copyright file name?
--
--   naq worker survey --jobs examples/license_survey/jobs.lua
--
-- Two kinds of file: machine-readable ones (DEP-5) say it in `License:` fields; the others are prose, in
-- which the well-known texts are looked for. A file that cannot be read, or is no text, fails its job
-- with a code; trying again would not help, so the first failure is the last.

local naq = require("naq")

-- Short names as the fields write them -> one spelling. Compared without case, dots of a
-- trailing ".0" taken off before.
local SPELLINGS = {
  ["mit"] = "MIT/Expat",
  ["expat"] = "MIT/Expat",
  ["mit/x11"] = "MIT/Expat",
  ["x11"] = "MIT/Expat",
  ["mit-style"] = "MIT/Expat",
  ["mit/expat"] = "MIT/Expat",
  ["isc"] = "ISC",
  ["zlib"] = "Zlib",
  ["zlib/libpng"] = "Zlib",
  ["public-domain"] = "public domain",
  ["public domain"] = "public domain",
  ["pd"] = "public domain",
  ["cc0"] = "CC0",
  ["cc0-1"] = "CC0",
  ["bsd"] = "BSD",
  ["bsd-2"] = "BSD-2-Clause",
  ["bsd-3"] = "BSD-3-Clause",
  ["bsd-4"] = "BSD-4-Clause",
  ["bsd-2-clause"] = "BSD-2-Clause",
  ["bsd-3-clause"] = "BSD-3-Clause",
  ["bsd-4-clause"] = "BSD-4-Clause",
  ["bsd2"] = "BSD-2-Clause",
  ["bsd3"] = "BSD-3-Clause",
  ["asl-2"] = "Apache-2",
  ["apache-2"] = "Apache-2",
  ["mpl-1.1"] = "MPL-1.1",
  ["mpl-2"] = "MPL-2",
  ["artistic"] = "Artistic",
  ["artistic-1"] = "Artistic",
  ["artistic-2"] = "Artistic-2",
  ["perl"] = "Artistic",
  ["psf"] = "PSF-2",
  ["psf-2"] = "PSF-2",
  ["python"] = "PSF-2",
  ["bsl-1"] = "Boost-1",
  ["boost-1"] = "Boost-1",
  ["boost"] = "Boost-1",
  ["ofl-1.1"] = "OFL-1.1",
  ["sil-1.1"] = "OFL-1.1",
}

--- One spelling for one licence: "gpl-2.0-or-later" and "GPL-2+" are the same.
local function canonical(name)
  local key = name:lower():gsub("%.0$", ""):gsub("%.0([^%d])", "%1")
  key = key:gsub("%-or%-later$", "+"):gsub("%-only$", "")
  if SPELLINGS[key] then return SPELLINGS[key] end
  local family, version, plus = key:match("^(a?l?gpl)%-?v?([%d.]+)(%+?)$")
  if not family then family, version, plus = key:match("^(gfdl)%-?v?([%d.]+)(%+?)") end
  if family then return family:upper() .. "-" .. version .. plus end
  return (key == "gpl" or key == "lgpl" or key == "gfdl") and key:upper() or name
end

--- The names in a licence field: "GPL-2+ or Artistic, and Expat with some exception" has three.
local function split(expression, found)
  local plain = expression:gsub("%s+", " "):gsub("[()]", " "):gsub(",", " and ")
  for _, word in ipairs({ "or", "and", "and/or", "OR", "AND" }) do
    plain = plain:gsub(" " .. word .. " ", "\n")
  end
  for name in plain:gmatch("[^\n]+") do
    name = name:gsub(" [Ww][Ii][Tt][Hh] .*$", ""):match("^%s*(.-)%s*$")
    name = name:gsub("^and ", ""):gsub("^or ", "")
    -- A sentence is no name: those fields are prose in a machine-readable coat.
    if name ~= "" and #name <= 40 and select(2, name:gsub(" ", "")) <= 2 then
      found[canonical(name)] = true
    end
  end
end

local function from_fields(text, found)
  for value in text:gmatch("\n[Ll]icense:[ \t]*([^\n]*)") do
    split(value, found)
  end
end

-- GPL, LGPL, AGPL and GFDL in prose. The version is looked for near the name, "or later" behind it.
-- Only versions that exist: the next number in the text may belong to something else.
local GNU = {
  { "gnu affero general public license", "AGPL", { ["3"] = true } },
  { "gnu lesser general public license", "LGPL", { ["2.1"] = true, ["3"] = true } },
  { "gnu library general public license", "LGPL", { ["2"] = true, ["2.1"] = true } },
  { "gnu general public license", "GPL", { ["1"] = true, ["2"] = true, ["3"] = true } },
  { "gnu free documentation license", "GFDL", { ["1.1"] = true, ["1.2"] = true, ["1.3"] = true } },
}

local function gnu_from_prose(flat, found)
  for _, entry in ipairs(GNU) do
    local at = 1
    while true do
      local from, to = flat:find(entry[1], at, true)
      if not from then break end
      local before, after = flat:sub(math.max(1, from - 120), from), flat:sub(to + 1, to + 240)
      local version = after:match("^[^.]-version ([%d.]*%d)") or before:match("version ([%d.]*%d)[^.;]*$")
      version = version and version:gsub("%.0$", "")
      if entry[3][version or ""] then
        local later = after:find("any later version", 1, true)
          or after:find("or later", 1, true)
          or before:find("any later version", 1, true)
        found[canonical(("%s-%s%s"):format(entry[2], version, later and "+" or ""))] = true
      end
      at = to + 1
    end
  end
  -- "The full text is in /usr/share/common-licenses/GPL-2": counts where the prose gave no version.
  for name in flat:gmatch("/usr/share/common%-licenses/([%w.%-]*%w)") do
    name = canonical(name)
    if not (found[name] or found[name .. "+"]) then found[name] = true end
  end
end

-- Other texts, known by a phrase of their own: lower case, one space between words.
local PHRASES = {
  { "permission is hereby granted, free of charge, to any person obtaining a copy", "MIT/Expat" },
  { "mit license", "MIT/Expat" },
  { "permission to use, copy, modify, and/or distribute this software for any purpose", "ISC" },
  { "licensed under the apache license, version 2.0", "Apache-2" },
  { "apache license version 2.0", "Apache-2" },
  { "mozilla public license version 1.1", "MPL-1.1" },
  { "mozilla public license, v. 2.0", "MPL-2" },
  { "mozilla public license version 2.0", "MPL-2" },
  { "artistic license", "Artistic" },
  { "public domain", "public domain" },
  { "boost software license", "Boost-1" },
  { "python software foundation license", "PSF-2" },
  { "this software is provided 'as-is', without any express or implied warranty", "Zlib" },
  { "sil open font license", "OFL-1.1" },
}

local function from_prose(text, found)
  local flat = text:lower():gsub("%s+", " ")
  gnu_from_prose(flat, found)
  for _, entry in ipairs(PHRASES) do
    if flat:find(entry[1], 1, true) then found[entry[2]] = true end
  end
  if flat:find("redistribution and use in source and binary forms", 1, true) then
    local advertising = flat:find("all advertising materials mentioning", 1, true)
    local endorsing = flat:find("endorse or promote products derived", 1, true)
    found[advertising and "BSD-4-Clause" or endorsing and "BSD-3-Clause" or "BSD-2-Clause"] = true
  end
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why, "UNREADABLE" end
  local text, problem = file:read("a")
  file:close()
  if not text then return nil, path .. ": " .. tostring(problem), "UNREADABLE" end
  if text:find("\0", 1, true) then return nil, path .. ": not a text file", "NOT_TEXT" end
  if not text:find("%S") then return nil, path .. ": empty", "NOT_TEXT" end
  return text
end

naq.job("survey_copyright", { ignore_on = { "UNREADABLE", "NOT_TEXT" } }, function(args)
  local text, why, code = read(args.path)
  if not text then return nil, why, code end

  local found = {}
  -- Told apart by the first field of the file; many a prose file quotes the word elsewhere.
  if text:sub(1, 2000):lower():find("format[^\n]*:[^\n]*copyright%-?format") then
    from_fields("\n" .. text, found)
  end
  if next(found) == nil then from_prose(text, found) end

  local licences = naq.array({})
  for name in pairs(found) do
    licences[#licences + 1] = name
  end
  table.sort(licences)
  return { package = args.path:match("([^/]+)/[^/]+$"), licences = licences }
end)
