#!/usr/bin/env bash
# Builds every fuzz target and runs each for the given number of seconds from its seed corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
cmake --preset asan >build-asan.log 2>&1 || { cat build-asan.log; exit 1; }
rm -f build-asan.log
cmake --build --preset asan --target fuzzers

# One target, from its seeds; prints one line, or the end of the log when it found something.
fuzz() {
  local target=$1 name work
  name=$(basename "$target")
  work=$(mktemp -d)
  [ -d "tests/fuzz/corpus/${name%_fuzz}" ] && cp -r "tests/fuzz/corpus/${name%_fuzz}/." "$work"
  local status=0
  "$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -max_len=65536 \
    -artifact_prefix="build-asan/$name-" "$work" >"build-asan/$name.log" 2>&1 || status=1
  rm -rf "$work"
  if [ $status -eq 0 ]; then
    echo "fuzz: $name ran $seconds s without a finding ($(grep -oE 'Done [0-9]+ runs' "build-asan/$name.log"))"
  else
    tail -n 30 "build-asan/$name.log"
    echo "fuzz: $name found something; its input is build-asan/$name-*"
  fi
  return $status
}
export -f fuzz
export seconds
printf '%s\n' build-asan/*_fuzz | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
