-- Listeners that are no proper NATS server: they say something (or nothing) to whoever connects, and
-- then stay mute or hang up.

local listener = require("spec.support.listener")

local impostor = {}

local PROGRAM = [[
my ($say, $close) = @words;
my @kept;
while (my $client = $listener->accept) {
  syswrite($client, $say) if length $say;
  if ($close) { close($client) } else { push @kept, $client }
}]]

--- A NATS server's greeting, with these members besides.
function impostor.info(more)
  return ('INFO {"server_id":"X","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576%s}\r\n'):format(
    more and "," .. more or "")
end

--- Start one. Options: say, close, port. Returns {url, port, stop()}.
function impostor.start(options)
  return listener.start("impostor", PROGRAM, { options.say or "", options.close and "1" or "" }, options.port)
end

return impostor
