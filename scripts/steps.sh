# steps.sh -- sourced by the commands beside it: where the tree is, and one line a step.
#
# A step's own output goes to a log below build/log and is shown only when the step fails.
# shellcheck shell=bash

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
LOGS=$ROOT/build/log

# A bare system has no generated locales; and Debian keeps nats-server out of a user's PATH.
export LC_ALL=C.UTF-8
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# seconds_since <ms>: "0.4 s" below ten seconds, whole seconds above.
seconds_since() {
  local ms=$(($(now_ms) - $1))
  if ((ms < 10000)); then
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
  else
    printf '%d s' $((ms / 1000))
  fi
}

die() {
  echo "$*" >&2
  exit 1
}

# step <name> <command...>: run it quietly; "ok  name (1.2 s)", or its last lines and where the rest is.
step() {
  local name=$1 started status log
  shift
  log=$LOGS/${name//[^a-zA-Z0-9]/-}.log
  mkdir -p "$LOGS" 2>/dev/null
  : 2>/dev/null >"$log" || die "cannot write $log: build/ belongs to somebody else? Remove it and try again."
  started=$(now_ms)
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  if ((status == 0)); then
    echo "ok    $name ($(seconds_since "$started"))"
  else
    echo "FAIL  $name ($(seconds_since "$started")), exit status $status; the last lines of $log:"
    tail -n 30 "$log" | sed 's/^/      /'
  fi
  return $status
}

# build_tree <preset> [cmake options...]: configure and compile build/ (preset default) or build/<preset>.
build_tree() {
  cmake --preset "$@" && cmake --build --preset "$1" -j "$(nproc)"
}
