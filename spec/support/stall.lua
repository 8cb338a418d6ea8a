-- A proxy before a NATS server that stands for one that is busy with a request: once armed, it keeps what a
-- client sends on a connection for a while, from the first occurrence of a word on. Once; other connections,
-- and what the server sends, pass.

local listener = require("spec.support.listener")

local stall = {}

local PROGRAM = [[
sub came {
  my ($from, $data) = @_;
  my ($word, $seconds) = @words;
  my $held = $from == $client && index($data, $word) >= 0 && -e "$dir/armed" && mkdir("$dir/stalled");
  select(undef, undef, undef, $seconds) if $held;
  put(other($from), $data);
}]]

--- Returns {url, arm(), has_stalled(), stop()}.
---@param port integer  the server's
---@param word string
---@param seconds number
function stall.start(port, word, seconds)
  local self = listener.proxy("stall", port, PROGRAM, { word, tostring(seconds) })
  function self.arm() self.create("armed") end
  function self.has_stalled() return self.read("stalled") ~= nil end
  return self
end

return stall
