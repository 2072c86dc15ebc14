#!/usr/bin/env bash
# Makes the bundle, unpacks it into a root folder that holds glibc and nothing else, and runs the program there.
# Where the root can't be changed, in an empty environment instead. usage: bundle_test.sh BUILD_DIR
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$source_dir/tools/bundle.sh" "$1" "$work/bundle"
tar xzf "$work"/bundle/iol-*-linux-*.tar.gz -C "$work"
bundle=$(echo "$work"/iol-*-linux-*)
[ -s "$bundle/README.md" ] && [ -s "$bundle/licenses/iol" ]
[ -s "$bundle/share/iol/baseline/pytorch_subject.py" ] && [ ! -e "$bundle/include" ]

# Every library is the bundle's own or glibc's; the latter go into the root folder.
root=$work/root
mkdir -p "$root/proc" "$root/iol" "$root/tmp"
for library in $(ldd "$bundle/bin/iol" | grep -o '/[^ ]*'); do
  case $library in
    "$work"/*) ;;
    */ld-linux-x86-64.so.2 | */libc.so.6 | */libm.so.6 | */libdl.so.2 | */librt.so.1 | */libpthread.so.0)
      cp --parents --dereference "$library" "$root/" ;;
    *) echo "bundle_test: $library is not in the bundle" >&2; exit 1 ;;
  esac
done
cp -a "$bundle/." "$root/iol/"
enter=(unshare --map-root-user --mount --pid --fork)
if "${enter[@]}" true 2>/dev/null; then
  # A namespace of its own, so that /proc leaves with it.
  run() { "${enter[@]}" bash -c 'mount -t proc proc "$0/proc" && exec env -i "$(command -v chroot)" "$0" "$@"' "$root" "$@"; }
  program=/iol/bin/iol
else
  echo "bundle_test: no namespaces here; the program runs in an empty environment"
  run() { (cd / && env -i "$@"); }
  program=$bundle/bin/iol
fi
run $program doctor --json >"$work/doctor.json"
grep -q '"cpu_model"' "$work/doctor.json"
run $program generate demo -p "The sea" -n 8 --device cpu --json | grep -q '"finish_reason":"length"'
