# server.sh -- sourced by run and connections: the tree's paths, a build of what is measured, and a
# nats-server of our own, all of it gone when the program ends.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${NAQ_BUILD_DIR:-$root/build}
export LUA_PATH="$root/lua/?.lua;$root/lua/?/init.lua;$root/bench/?.lua;;"
export LUA_CPATH="$build/lib/5.4/?.so;;"
cd "$root"

work=$(mktemp -d "${TMPDIR:-/tmp}/naq-bench.XXXXXX")
server=
finish() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Configured once, built every time: a figure of yesterday's code helps nobody.
build_quietly() { # SOURCE BUILD
  { [[ -f $2/CMakeCache.txt ]] || cmake -S "$1" -B "$2"; } >"$work/build.log" 2>&1 &&
    cmake --build "$2" -j2 >>"$work/build.log" 2>&1 && return
  cat "$work/build.log" >&2
  echo "bench: $1 does not build" >&2
  exit 1
}
build_quietly "$root" "$build"
build_quietly "$root/bench" "$build/bench"

# Below 32768: higher ports are taken by client sockets now and then. The server writes its port
# into a file once it listens, so a stranger on the same port is not mistaken for it.
start_server() {
  local port first=${NAQ_BENCH_PORT:-21222}
  for ((port = first; port < first + 50; port++)); do
    nats-server -js -a 127.0.0.1 -p "$port" -m -1 -sd "$work/store" --ports_file_dir "$work" \
      -l "$work/server.log" &
    server=$!
    for ((i = 0; i < 200; i++)); do
      if [[ -s $work/nats-server_$server.ports ]]; then
        url=nats://127.0.0.1:$port
        # What the server counts is read from its monitoring port, one that it chose itself.
        monitor=$(grep -o 'http://[^"]*' "$work/nats-server_$server.ports")
        return
      fi
      kill -0 "$server" 2>/dev/null || break
      sleep 0.05
    done
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
  done
  cat "$work/server.log" >&2
  echo "bench: no nats-server could be started" >&2
  exit 1
}
start_server

export NAQ_BENCH_URL=$url NAQ_BENCH_SERVER=$server NAQ_BENCH_WORK=$work NAQ_BENCH_MONITOR=$monitor
export NAQ_BENCH_BASELINE=$build/bench/naq-baseline NAQ_BENCH_THREADS=$build/bench/naq-lua-threads
