-- stream_reader.lua -- reads a stream from where it stopped the last time, a batch after the other.
--
--   naq run examples/connections/stream_reader.lua NAME [SECONDS]
--
-- Prints what is published to journal.> (`nats pub journal.web started`), with NAME as the reader's name: the
-- server remembers for each name what it has read. Two readers of one name share the work; one that dies in
-- the middle loses nothing, what it had not acked comes again. Ends when nothing came for SECONDS (for ever
-- without).

local naq = require("naq")

local STREAM = { subjects = { "journal.>" }, retention = "limits", max_age = 7 * 86400 }
local BATCH = 100

local name, seconds = arg[1], tonumber(arg[2])
if not name then
  io.stderr:write("usage: stream_reader.lua NAME [SECONDS]\n")
  os.exit(2, true)
end

local function read(js)
  local _, differs = assert(js:ensure_stream("JOURNAL", STREAM))
  for _, difference in ipairs(differs) do
    io.stderr:write("stream JOURNAL: ", difference, "\n")
  end
  local sub = assert(js:pull_subscribe("journal.>", { durable = name, config = { ack_wait = 30 } }))
  while true do
    local batch, message, code = sub:fetch(BATCH, { seconds = seconds or 30 })
    if batch then
      for _, entry in ipairs(batch) do
        local again = entry.delivered > 1 and " (again)" or ""
        print(("%d %s %s%s"):format(entry.seq, entry.subject, entry.data, again))
        assert(entry:ack())
      end
      if #batch == 0 and seconds then return true end
    elseif not naq.errors.is_retryable(code) then
      return nil, message
    end -- else: the server is away, and fetch() has waited for it
  end
end

local done, message = naq.with_jetstream(read)
if not done then
  io.stderr:write("stream_reader: ", message, "\n")
  os.exit(1, true)
end
