-- The example that scripts/demo runs: on a folder of known files, among them some that cannot be surveyed.

local core = require("naq.core")
local support = require("spec.support")
local naq, nats, start_worker = support.naq, support.nats, support.start_worker

local EXAMPLE = support.root .. "/examples/license_survey"

local DEP5 = [[
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: one

Files: *
Copyright: 2020 Ada
License: GPL-2.0-or-later or Artistic

Files: lib/*
License: Expat
 Permission is hereby granted, free of charge, to any person obtaining a copy ...
]]

local PROSE = [[
This program is free software; you can redistribute it and/or modify
it under the terms of the GNU Lesser General Public License as published by
the Free Software Foundation; either version 2.1 of the License, or (at your option)
any later version.

Redistribution and use in source and binary forms, with or without modification, are permitted;
the name may not be used to endorse or promote products derived from this software.
]]

local function write(folder, package, text)
  assert(os.execute(("mkdir -p '%s/%s'"):format(folder, package)))
  local f = assert(io.open(("%s/%s/copyright"):format(folder, package), "wb"))
  f:write(text)
  f:close()
end

describe("the licence survey", function()
  local server, worker, folder, status, out, errors

  setup(function()
    server = nats.start()
    folder = assert(core.mkdtemp("naq-spec-survey"))
    write(folder, "one", DEP5)
    write(folder, "two", PROSE)
    write(folder, "three", "This is in the public domain.\n")
    write(folder, "nameless", "All rights reserved.\n")
    write(folder, "binary", "\127ELF\0\1\2")
    write(folder, "empty", "\n")
    -- A folder where the file should be: unreadable for root as well.
    assert(os.execute(("mkdir -p '%s/folder/copyright'"):format(folder)))
    worker = start_worker({ url = server.url, queues = { "survey" }, jobs = { EXAMPLE .. "/jobs.lua" } })
    local env = { NAQ_NATS_URL = server.url }
    status, out, errors = naq("run", EXAMPLE .. "/survey.lua", folder, { env = env })
  end)

  teardown(function()
    worker:stop()
    server:stop()
    core.rmtree(folder)
  end)

  local function row(name, count)
    local pattern = "\n" .. name:gsub("%p", "%%%0") .. "%s+" .. count .. "\n"
    assert.matches(pattern, "\n" .. out)
  end

  it("ends well, whatever the files are", function()
    assert.equal("", errors)
    assert.equal(0, status)
  end)

  it("finds licences in fields and in prose", function()
    row("GPL-2+", 1)
    row("Artistic", 1)
    row("MIT/Expat", 1)
    row("LGPL-2.1+", 1)
    row("BSD-3-Clause", 1)
    row("public domain", 1)
    row("none recognised", 1)
  end)

  it("counts files that cannot be surveyed as failed jobs, without trying them again", function()
    row("failed jobs", 3)
    assert.matches("7 jobs in [%d.]+ s: %d+ jobs/s, 0 retries, 3 failures", out)
    assert.matches("folder/copyright: .*%(UNREADABLE%)", out)
    assert.matches("binary/copyright: not a text file %(NOT_TEXT%)", out)
    assert.matches("empty/copyright: empty %(NOT_TEXT%)", out)
  end)
end)
