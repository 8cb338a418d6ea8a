-- A proxy before a NATS server that holds what a client sends as soon as a word occurs in it, until it is told
-- to let that pass: for putting others between two steps of a worker.

local eventually = require("spec.support.eventually")
local listener = require("spec.support.listener")

local holder = {}

-- What is held is the data that has the word, and all that the same connection sends behind it.
-- "next" passes only what came in one piece with the word; "all" everything, for good.
local PROGRAM = [[
our ($holds, @held) = (0);
sub turn {
  return undef unless $holds;
  put($server, shift @held), unlink "$dir/next" if @held && -e "$dir/next";
  if (-e "$dir/all") { put($server, $_) for @held; ($holds, @held) = (0); }
  return 0.005;
}
sub came {
  my ($from, $data) = @_;
  return put($client, $data) if $from == $server;
  $holds = 1 if !$holds && index($data, $words[0]) >= 0 && mkdir("$dir/held");
  if ($holds) { push @held, $data } else { put($server, $data) }
}]]

--- Returns {url, holds(), pass_one(), pass(), stop()}.
---@param port integer  the server's
---@param word string
function holder.start(port, word)
  local self = listener.proxy("holder", port, PROGRAM, { word })
  --- Wait until the word has come.
  function self.holds()
    eventually(function() return self.read("held") end, 20, "the holder to hold " .. word)
  end
  --- What has the word goes on; what is behind it stays.
  function self.pass_one()
    self.create("next")
    eventually(function() return not self.read("next") end, 10, "the holder to pass " .. word)
  end
  function self.pass() self.create("all") end
  return self
end

return holder
