-- A proxy before a NATS server that keeps back whole protocol messages: those that match a pattern, in one
-- direction. Everything else passes.

local listener = require("spec.support.listener")

local sieve = {}

local PROGRAM = [[
our %buffer;
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
sub came {
  my ($from, $data) = @_;
  my ($side, $pattern, $most) = @words;
  my $name = $from == $server ? "server" : "client";
  $buffer{$name} .= $data;
  while (defined(my $message = take(\$buffer{$name}))) {
    if ($name eq $side && $message =~ /$pattern/ && (-s "$dir/kept" || 0) < $most) {
      open(my $kept, ">>", "$dir/kept"); print $kept "."; close($kept);
      next;
    }
    put(other($from), $message);
  }
}]]

--- Keep back what `from` ("server" or "client") sends and what matches a Perl pattern, `most` times at most.
--- Returns {url, kept(): integer, stop()}.
function sieve.start(port, from, pattern, most)
  local self = listener.proxy("sieve", port, PROGRAM, { from, pattern, tostring(most or 1e9) })
  function self.kept() return #(self.read("kept") or "") end
  return self
end

return sieve
