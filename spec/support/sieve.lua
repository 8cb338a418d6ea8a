-- A proxy before a NATS server that keeps back whole protocol messages: those that match a pattern, in one
-- direction. Everything else passes. A perl process.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local sieve = {}

local PROGRAM = [[
use IO::Socket::INET; use IO::Select; $SIG{PIPE} = "IGNORE"; $SIG{CHLD} = "IGNORE";
my ($port, $to, $from, $pattern, $most, $dir) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 64, ReuseAddr => 1)
  or die "port $port: $!";
open(my $ready, ">", "$dir/ready"); close($ready);
sub take { # the first whole message of a buffer
  my $buffer = shift;
  my $end = index($$buffer, "\r\n");
  return undef if $end < 0;
  my $line = substr($$buffer, 0, $end);
  my $len = $end + 2;
  $len += $1 + 2 if $line =~ /^(?:MSG|HMSG|PUB|HPUB) .*?(\d+)$/;
  return undef if length $$buffer < $len;
  return substr($$buffer, 0, $len, "");
}
while (my $client = $listener->accept) {
  next if fork();
  my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $to) or exit;
  my $both = IO::Select->new($client, $server);
  my %buffer = ($client => "", $server => "");
  while (my @ready = $both->can_read) {
    for my $side (@ready) {
      sysread($side, $buffer{$side}, 65536, length $buffer{$side}) or exit;
      my ($other, $name) = $side == $server ? ($client, "server") : ($server, "client");
      while (defined(my $message = take(\$buffer{$side}))) {
        if ($name eq $from && $message =~ /$pattern/ && (-s "$dir/kept" || 0) < $most) {
          open(my $kept, ">>", "$dir/kept"); print $kept "."; close($kept);
          next;
        }
        for (my $sent = 0; $sent < length $message;) {
          $sent += syswrite($other, $message, length($message) - $sent, $sent) || exit;
        }
      }
    }
  }
}]]

--- Keep back what `from` ("server" or "client") sends and what matches a Perl pattern, `most` times at most.
--- Returns {url, kept(): integer, stop()}.
function sieve.start(port, from, pattern, most)
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local dir = assert(core.mkdtemp("naq-spec-sieve"))
  local own = assert(core.free_port(tonumber(low), tonumber(high)))
  local self = { url = "nats://127.0.0.1:" .. own }
  local argv = { "perl", "-e", PROGRAM, tostring(own), tostring(port), from, pattern, tostring(most or 1e9), dir }
  local pid = assert(core.spawn(argv, {
    stdout = dir .. "/log",
    stderr = dir .. "/log",
    die_with_parent = true,
    env = { LD_PRELOAD = false },
  }))
  function self.kept()
    local f = io.open(dir .. "/kept")
    local text = f and f:read("a") or ""
    if f then f:close() end
    return #text
  end
  function self.stop()
    core.kill(pid, "KILL")
    core.wait(pid, 10)
    core.rmtree(dir)
  end
  eventually(function()
    local f = io.open(dir .. "/ready")
    return f and f:close()
  end, 10, "the sieve on port " .. own)
  return self
end

return sieve
