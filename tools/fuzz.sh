#!/usr/bin/env bash
# Builds every fuzz target and runs each for the given number of seconds from its seed corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
cmake --preset asan >build-asan.log 2>&1 || { cat build-asan.log; exit 1; }
rm -f build-asan.log
cmake --build --preset asan --target fuzzers
status=0
for target in build-asan/*_fuzz; do
  name=$(basename "$target")
  seeds="tests/fuzz/corpus/${name%_fuzz}"
  work=$(mktemp -d)
  [ -d "$seeds" ] && cp -r "$seeds/." "$work"
  if "$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -max_len=65536 \
      -artifact_prefix="build-asan/$name-" "$work" >"build-asan/$name.log" 2>&1; then
    echo "fuzz: $name ran $seconds s without a finding ($(grep -oE 'Done [0-9]+ runs' "build-asan/$name.log"))"
  else
    tail -n 30 "build-asan/$name.log"
    echo "fuzz: $name found something; its input is build-asan/$name-*"
    status=1
  fi
  rm -rf "$work"
done
exit $status
