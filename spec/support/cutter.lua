-- A proxy before a NATS server that breaks a connection in the middle of a message: behind the first
-- occurrence of a word in what the server sends. Once; afterwards it lets everything pass. A perl process.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local cutter = {}

local PROGRAM = [[
use IO::Socket::INET; use IO::Select; $SIG{PIPE} = "IGNORE"; $SIG{CHLD} = "IGNORE";
my ($port, $to, $word, $dir) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 64, ReuseAddr => 1)
  or die "port $port: $!";
open(my $file, ">", "$dir/ready"); close($file);
while (my $client = $listener->accept) {
  next if fork();
  my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $to) or exit;
  my $both = IO::Select->new($client, $server);
  while (my @ready = $both->can_read) {
    for my $from (@ready) {
      my $n = sysread($from, my $data, 65536);
      exit unless $n;
      my $at = $from == $server ? index($data, $word) : -1;
      my $cut = $at >= 0 && mkdir("$dir/cut");
      $data = substr($data, 0, $at + length $word) if $cut;
      my $other = $from == $server ? $client : $server;
      for (my $sent = 0; $sent < length $data;) {
        $sent += syswrite($other, $data, length($data) - $sent, $sent) || exit;
      }
      exit if $cut;
    }
  }
}]]

--- Returns {url, was_cut(), stop()}.
function cutter.start(port, word)
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local dir = assert(core.mkdtemp("naq-spec-cutter"))
  local own = assert(core.free_port(tonumber(low), tonumber(high)))
  local self = { url = "nats://127.0.0.1:" .. own }
  local argv = { "perl", "-e", PROGRAM, tostring(own), tostring(port), word, dir }
  local pid = assert(core.spawn(argv, {
    stdout = dir .. "/log",
    stderr = dir .. "/log",
    die_with_parent = true,
    env = { LD_PRELOAD = false },
  }))
  local function exists(name)
    local f = io.open(dir .. "/" .. name)
    return f and f:close()
  end
  function self.was_cut() return exists("cut") end
  function self.stop()
    core.kill(pid, "KILL")
    core.wait(pid, 10)
    core.rmtree(dir)
  end
  eventually(function() return exists("ready") end, 10, "the cutter on port " .. own)
  return self
end

return cutter
