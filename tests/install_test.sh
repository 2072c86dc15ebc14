#!/usr/bin/env bash
# Installs into an empty prefix, builds the example against it, and runs both from another folder.
# usage: install_test.sh BUILD_DIR
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build_dir" --prefix "$work/prefix" >/dev/null
cmake -S "$source_dir/examples/generate" -B "$work/example" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/example" >/dev/null
cd "$work"
unset IOL_MODELS_DIR
prefix/bin/iol generate demo -p "The sea" -n 8 --json | grep -q '"finish_reason":"length"'
IOL_MODELS_DIR="$work/prefix/share/iol/models" example/generate | tee out.txt
grep -q "cancelled after" out.txt
