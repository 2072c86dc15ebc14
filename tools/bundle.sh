#!/usr/bin/env bash
# Packs a built program with all that it needs to run on a machine without build tools: one tarball that holds the
# program, its libraries but glibc's, their licenses, the demo models, the PyTorch baseline and the price file.
# The target needs x86-64 Linux with at least the glibc that the tarball's README names; a GPU needs its driver.
# usage: tools/bundle.sh [BUILD_DIR] [OUTPUT_DIR]    (build, and BUILD_DIR/bundle)
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=${1:-$source_dir/build}
output_dir=${2:-$build_dir/bundle}

fail() { echo "bundle: $*" >&2; exit "${status:-1}"; }
[ $# -le 2 ] || status=2 fail "usage: tools/bundle.sh [BUILD_DIR] [OUTPUT_DIR]"
[ -x "$build_dir/iol" ] || status=2 fail "no program in $build_dir; build it first: make build"

version=$("$build_dir/iol" --version | awk '{print $NF}')
name=iol-$version-linux-$(uname -m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/$name

for component in program libraries; do
  cmake --install "$build_dir" --prefix "$root" --component $component --strip >"$work/install.log" ||
    { cat "$work/install.log" >&2; fail "installing into the bundle failed"; }
done

# The license of each package that a file of the bundle, or code inside the program, comes from.
mkdir -p "$root/licenses"
cp "$source_dir/LICENSE" "$root/licenses/iol"
packages=(libcli11-dev nlohmann-json3-dev libspdlog-dev libtomlplusplus-dev libjs-chart.js)
for library in "$root"/lib/*.so.*; do
  [ -L "$library" ] && continue
  package=$(dpkg -S "*/$(basename "$library")" 2>/dev/null | head -n 1 | cut -d: -f1)
  [ -n "$package" ] || fail "no installed package owns $(basename "$library"), so its license is unknown"
  packages+=("$package")
done
for package in "${packages[@]}"; do
  cp "/usr/share/doc/$package/copyright" "$root/licenses/$package" || fail "the license of $package is missing"
done
cp /usr/share/common-licenses/{Apache-2.0,GPL-3,LGPL-2.1} "$root/licenses/"
# The CUDA runtime inside the program; where its license lies depends on how the compiler was installed.
cuda_root=$(sed -n 's/^IOL_CUDA_INCLUDE:PATH=\(.*\)\/include$/\1/p' "$build_dir/CMakeCache.txt")
cuda_root=${cuda_root%/targets/*}
if nm -C "$build_dir/iol" 2>/dev/null | grep -q cudaLaunchKernel; then
  cuda_license=$(find "$cuda_root/" -maxdepth 4 \( -name EULA.txt -o -ipath '*cuda_runtime*license*.txt' \) \
    -type f 2>/dev/null | sort | head -n 1)
  [ -n "$cuda_license" ] || fail "the CUDA runtime's license is not under $cuda_root"
  cp "$cuda_license" "$root/licenses/cuda-runtime"
fi

# The newest version of glibc that any file asks for.
glibc=$(find "$root/bin" "$root/lib" -type f -exec objdump -T {} + | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' |
  sort -uV | tail -n 1)

cat >"$root/README.md" <<END
# iol $version

For x86-64 Linux with glibc $glibc or newer. Nothing has to be installed; keep the folders together.

    bin/iol doctor                                 the machine and its measured limits
    bin/iol generate demo -p "It was a dark night"
    bin/iol bench demo --engines iol
    bin/iol COMMAND --help

An NVIDIA GPU of compute capability 8.0 to 9.0 is used where its driver is found. To compare with PyTorch, give a Python that
has the packages of share/iol/baseline/requirements.txt: IOL_PYTHON=/path/to/python bin/iol bench demo

licenses/ holds the licenses of everything in here.
END

mkdir -p "$output_dir"
tar --create --gzip --sort=name --owner=0 --group=0 --numeric-owner --directory "$work" \
  --file "$output_dir/$name.tar.gz" "$name"
echo "$output_dir/$name.tar.gz ($(du -h "$output_dir/$name.tar.gz" | cut -f1), glibc $glibc or newer)"
