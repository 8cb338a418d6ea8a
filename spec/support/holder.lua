-- A proxy before a NATS server that holds what a client sends as soon as a word occurs in it, until it is told
-- to let that pass: for putting others between two steps of a worker. A perl process.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local holder = {}

-- What is held is the data that has the word, and all that the same connection sends behind it.
-- "next" passes only what came in one piece with the word; "all" everything, for good.
local PROGRAM = [[
use IO::Socket::INET; use IO::Select; $SIG{PIPE} = "IGNORE"; $SIG{CHLD} = "IGNORE";
my ($port, $to, $word, $dir) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 64, ReuseAddr => 1)
  or die "port $port: $!";
open(my $file, ">", "$dir/ready"); close($file);
sub put {
  my ($other, $data) = @_;
  for (my $sent = 0; $sent < length $data;) {
    $sent += syswrite($other, $data, length($data) - $sent, $sent) || exit;
  }
}
while (my $client = $listener->accept) {
  next if fork();
  my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $to) or exit;
  my ($holds, @held) = (0);
  my $both = IO::Select->new($client, $server);
  while (1) {
    if ($holds) {
      put($server, shift @held), unlink "$dir/next" if @held && -e "$dir/next";
      if (-e "$dir/all") { put($server, $_) for @held; ($holds, @held) = (0); }
    }
    for my $from ($both->can_read($holds ? 0.005 : undef)) {
      my $n = sysread($from, my $data, 65536);
      exit unless $n;
      if ($from == $server) { put($client, $data); next; }
      if (!$holds && index($data, $word) >= 0 && mkdir("$dir/held")) { $holds = 1; }
      if ($holds) { push @held, $data; } else { put($server, $data); }
    }
  }
}]]

--- Returns {url, holds(), pass_one(), pass(), stop()}.
---@param port integer  the server's
---@param word string
function holder.start(port, word)
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local dir = assert(core.mkdtemp("naq-spec-holder"))
  local own = assert(core.free_port(tonumber(low), tonumber(high)))
  local self = { url = "nats://127.0.0.1:" .. own }
  local pid = assert(core.spawn({ "perl", "-e", PROGRAM, tostring(own), tostring(port), word, dir }, {
    stdout = dir .. "/log",
    stderr = dir .. "/log",
    die_with_parent = true,
    env = { LD_PRELOAD = false },
  }))
  local function exists(name)
    local f = io.open(dir .. "/" .. name)
    return f ~= nil and f:close()
  end
  local function create(name) assert(io.open(dir .. "/" .. name, "wb")):close() end
  --- Wait until the word has come.
  function self.holds()
    eventually(function() return exists("held") end, 20, "the holder to hold " .. word)
  end
  --- What has the word goes on; what is behind it stays.
  function self.pass_one()
    create("next")
    eventually(function() return not exists("next") end, 10, "the holder to pass " .. word)
  end
  function self.pass() create("all") end
  function self.stop()
    core.kill(pid, "KILL")
    core.wait(pid, 10)
    core.rmtree(dir)
  end
  eventually(function() return exists("ready") end, 10, "the holder on port " .. own)
  return self
end

return holder
