-- A process that listens on a port of its own: what stands before a NATS server in a spec, or in its place.
-- In perl, which every Debian has.

local core = require("naq.core")
local eventually = require("spec.support.eventually")

local listener = {}

local unpack = table.unpack -- luacheck: ignore 143

-- A program finds its words in @words, and $dir is a folder that it shares with the spec.
local LISTEN = [[
use IO::Socket::INET; use IO::Select; $SIG{PIPE} = "IGNORE"; $SIG{CHLD} = "IGNORE";
our ($own, $dir, @words) = @ARGV;
our $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $own, Listen => 64, ReuseAddr => 1)
  or die "port $own: $!";
open(my $ready, ">", "$dir/ready"); close($ready);
]]

-- Each connection has a process of its own, with a $client and a $server. The program says what becomes of
-- data in came($from, $data), and may say in turn(), called before each wait, how long that is.
local PROXY = [[
our ($client, $server);
our $to = shift @words;
sub other { return $_[0] == $server ? $client : $server }
sub put {
  my ($side, $data) = @_;
  for (my $sent = 0; $sent < length $data;) {
    $sent += syswrite($side, $data, length($data) - $sent, $sent) || exit;
  }
}
%s
while ($client = $listener->accept) {
  next if fork();
  $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $to) or exit;
  my $both = IO::Select->new($client, $server);
  while (1) {
    for my $from ($both->can_read(defined &turn ? turn() : undef)) {
      sysread($from, my $data, 65536) or exit;
      came($from, $data);
    }
  }
}]]

--- Returns {port, url, read(name): string?, create(name), stop()}: the two in the middle for files of $dir.
---@param name string
---@param program string
---@param words string[]
---@param port integer?  else a free one
function listener.start(name, program, words, port)
  local low, high = (os.getenv("NAQ_SPEC_PORTS") or ""):match("^(%d+)%-(%d+)$")
  local dir = assert(core.mkdtemp("naq-spec-" .. name))
  local self = { port = port or assert(core.free_port(tonumber(low), tonumber(high))) }
  self.url = "nats://127.0.0.1:" .. self.port
  local argv = { "perl", "-e", LISTEN .. program, tostring(self.port), dir, unpack(words) }
  local pid = assert(core.spawn(argv, {
    stdout = dir .. "/log",
    stderr = dir .. "/log",
    die_with_parent = true,
    env = { LD_PRELOAD = false },
  }))
  function self.read(file)
    local f = io.open(dir .. "/" .. file, "rb")
    if not f then return nil end
    local text = f:read("a") or "" -- a folder is there, and cannot be read
    f:close()
    return text
  end
  function self.create(file) assert(io.open(dir .. "/" .. file, "wb")):close() end
  function self.stop()
    core.kill(pid, "KILL")
    core.wait(pid, 10)
    core.rmtree(dir)
  end
  eventually(function() return self.read("ready") end, 10, ("the %s on port %d"):format(name, self.port))
  return self
end

--- A proxy before the server on this port; as start.
function listener.proxy(name, port, program, words)
  return listener.start(name, PROXY:gsub("%%s", function() return program end), { tostring(port), unpack(words) })
end

return listener
