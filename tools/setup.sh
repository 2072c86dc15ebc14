#!/usr/bin/env bash
# Installs what building, testing and the PyTorch baseline need, on Debian 12 and Ubuntu 24.04.
# Says what it does; does nothing that is already done. --no-python leaves out the baseline's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  # building
  build-essential cmake ninja-build pkg-config ccache mold git
  libcli11-dev nlohmann-json3-dev libsimdjson-dev libspdlog-dev libfmt-dev libutf8proc-dev libpcre2-dev
  libsentencepiece-dev libssl-dev libtomlplusplus-dev libboost-dev zlib1g-dev libjs-chart.js
  # testing
  libgtest-dev libgmock-dev libbenchmark-dev clang libclang-rt-dev clang-format python3 openssl
  # the PyTorch baseline and the oracle (torch.compile builds against Python's headers)
  python3-venv python3-dev
)
# A browser for the tests of the report. Ubuntu's is a snap, which neither a container nor CI can have.
if [ "$(. /etc/os-release && echo "$ID")" = debian ]; then
  packages+=(chromium-headless-shell fonts-dejavu-core)
elif ! command -v google-chrome chromium-headless-shell >/dev/null && [ -z "${IOL_CHROMIUM:-}" ]; then
  echo "setup: NO BROWSER: this system has no Chromium package but a snap; the report's tests in a browser will be" \
       "skipped. IOL_CHROMIUM=/path/to/chrome runs them" >&2
fi
with_python=yes
case "${1:-}" in
  --no-python) with_python=no ;;
  "") ;;
  *) echo "setup: unknown option '$1'; usage: tools/setup.sh [--no-python]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "setup: neither root nor sudo; ask an administrator to run: apt-get install ${missing[*]}" >&2
      exit 1
    fi
    sudo=sudo
  fi
  echo "setup: installing ${missing[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ "$with_python" = yes ]; then
  wanted=$(sha256sum baseline/requirements.txt | cut -d' ' -f1)
  if [ "$(cat .venv/.requirements 2>/dev/null || true)" != "$wanted" ]; then
    echo "setup: installing the PyTorch baseline into .venv (about 6 GB with its CUDA libraries)"
    [ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r baseline/requirements.txt
    echo "$wanted" >.venv/.requirements
  fi
  # AIPerf's own reader, for the test of the export to it: without its 40 dependencies.
  wanted=$(sha256sum tests/report/aiperf-reader.txt | cut -d' ' -f1)
  if [ "$(cat .cache/aiperf-reader/.requirements 2>/dev/null || true)" != "$wanted" ]; then
    echo "setup: installing AIPerf's reader into .cache/aiperf-reader (45 MB), for tests"
    rm -rf .cache/aiperf-reader
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target .cache/aiperf-reader \
      -r tests/report/aiperf-reader.txt
    echo "$wanted" >.cache/aiperf-reader/.requirements
  fi
fi
echo "setup: everything is in place"
