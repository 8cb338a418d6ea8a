-- A proxy before a NATS server that stands for one that is busy with a request: once armed, it keeps what a
-- client sends on a connection for a while, from the first occurrence of a word on. Once; other connections,
-- and what the server sends, pass. A perl process.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local stall = {}

local PROGRAM = [[
use IO::Socket::INET; use IO::Select; $SIG{PIPE} = "IGNORE"; $SIG{CHLD} = "IGNORE";
my ($port, $to, $word, $seconds, $dir) = @ARGV;
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
      my $held = $from == $client && index($data, $word) >= 0 && -e "$dir/armed" && mkdir("$dir/stalled");
      select(undef, undef, undef, $seconds) if $held;
      my $other = $from == $server ? $client : $server;
      for (my $sent = 0; $sent < length $data;) {
        $sent += syswrite($other, $data, length($data) - $sent, $sent) || exit;
      }
    }
  }
}]]

--- Returns {url, arm(), has_stalled(), stop()}.
---@param port integer  the server's
---@param word string
---@param seconds number
function stall.start(port, word, seconds)
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local dir = assert(core.mkdtemp("naq-spec-stall"))
  local own = assert(core.free_port(tonumber(low), tonumber(high)))
  local self = { url = "nats://127.0.0.1:" .. own }
  local argv = { "perl", "-e", PROGRAM, tostring(own), tostring(port), word, tostring(seconds), dir }
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
  function self.arm() assert(io.open(dir .. "/armed", "w")):close() end
  function self.has_stalled() return exists("stalled") end
  function self.stop()
    core.kill(pid, "KILL")
    core.wait(pid, 10)
    core.rmtree(dir)
  end
  eventually(function() return exists("ready") end, 10, "the proxy on port " .. own)
  return self
end

return stall
