-- A proxy before a NATS server that breaks a connection in the middle of a message: behind the first
-- occurrence of a word in what the server sends. Once; afterwards it lets everything pass.

local listener = require("spec.support.listener")

local cutter = {}

local PROGRAM = [[
sub came {
  my ($from, $data) = @_;
  my $at = $from == $server ? index($data, $words[0]) : -1;
  my $cut = $at >= 0 && mkdir("$dir/cut");
  $data = substr($data, 0, $at + length $words[0]) if $cut;
  put(other($from), $data);
  exit if $cut;
}]]

--- Returns {url, was_cut(), stop()}.
---@param port integer  the server's
---@param word string
function cutter.start(port, word)
  local self = listener.proxy("cutter", port, PROGRAM, { word })
  function self.was_cut() return self.read("cut") ~= nil end
  return self
end

return cutter
