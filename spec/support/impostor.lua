-- Listeners that are no proper NATS server: they say something (or nothing) to whoever connects, and
-- then stay mute or hang up. A perl process each, which every Debian has.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local impostor = {}

local PROGRAM = [[
use IO::Socket::INET; $SIG{PIPE} = "IGNORE";
my ($port, $ready, $close, $say) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 64, ReuseAddr => 1)
  or die "port $port: $!";
open(my $file, ">", $ready); close($file);
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
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local dir = assert(core.mkdtemp("naq-spec-impostor"))
  local self = { port = options.port or assert(core.free_port(tonumber(low), tonumber(high))) }
  self.url = "nats://127.0.0.1:" .. self.port
  local argv = { "perl", "-e", PROGRAM, tostring(self.port), dir .. "/ready" }
  argv[#argv + 1] = options.close and "1" or ""
  argv[#argv + 1] = options.say or ""
  local pid = assert(core.spawn(argv, {
    stdout = dir .. "/log",
    stderr = dir .. "/log",
    die_with_parent = true,
    env = { LD_PRELOAD = false },
  }))
  function self.stop()
    core.kill(pid, "KILL")
    core.wait(pid, 10)
    core.rmtree(dir)
  end
  eventually(function()
    local f = io.open(dir .. "/ready")
    return f and f:close()
  end, 10, "the impostor on port " .. self.port)
  return self
end

return impostor
