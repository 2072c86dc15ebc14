#!/usr/bin/env bash
# Everything that `make test` checks beyond the release build. Each stage says what it did; the first failure ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

stage() { printf '\n== %s (%d s so far)\n' "$1" "$SECONDS"; }

stage "layers and formatting"
python3 tools/check_layers.py
tools/format.sh --check

stage "unit and oracle tests (release)"
ctest --test-dir build --output-on-failure --no-tests=error -j "$(nproc)"

stage "AddressSanitizer and UndefinedBehaviorSanitizer"
cmake --preset asan >build-asan.log 2>&1 || { cat build-asan.log; exit 1; }
rm -f build-asan.log
cmake --build --preset asan
# Left out: what is mostly PyTorch, minutes of arithmetic that other tests do as well, and the client of
# servers, whose coroutines Clang 14 can't compile.
ctest --test-dir build-asan --output-on-failure --no-tests=error -j "$(nproc)" \
  -E 'PyTorchBaseline|CompareExperiment|^cli\.Eval|Plan\.is_within|on_every_instruction_set/books|CalibratedBuild|Build\.(a_table|bench|eval_and_plan|every_format)|chunks_or_threads/portable|brings_the_demo_model|^bench\.(Quantization\.every|KvCacheQuality|BenchCommand|LiveViewOnTerminal|OpenAi(Tls|Start)?\.)|RealServer'

stage "ThreadSanitizer (engine, scheduler, threads)"
cmake --preset tsan >build-tsan.log 2>&1 || { cat build-tsan.log; exit 1; }
rm -f build-tsan.log
cmake --build --preset tsan --target base_test scheduler_test engine_test
ctest --test-dir build-tsan --output-on-failure --no-tests=error -j "$(nproc)" \
  -R '^(base|scheduler|engine)\.' -E 'OracleTest'

stage "fuzzing"
tools/fuzz.sh "${FUZZ_SECONDS:-10}"

echo "all checks passed in $SECONDS s"
