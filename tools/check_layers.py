#!/usr/bin/env python3
"""Enforces the layers of docs/architecture.md: an include points to the same folder or to a strictly lower layer.

Also: CUDA headers are included only under src/backend/cuda, report depends on base alone, and every test file is part of a
test program.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder (as written in an #include) -> layer.
LAYERS = {
    "base": 0,
    "request": 1, "backend": 1, "tokenizer": 1, "kv_cache": 1, "telemetry": 1,
    "model": 2, "sampler": 2, "scheduler": 2,
    "quantization": 3, "speculative": 3,
    "engine": 4,
    "server": 5, "workload": 5, "report": 5, "economics": 5,
    "bench": 6,
    "apps": 7,
}
# Plain structs that layer 1 shares: request/ is the vocabulary of the folders beside it.
SAME_LAYER_ALLOWED = {("backend", "request"), ("kv_cache", "request")}
DEPENDS_ON_BASE_ALONE = {"report", "economics"}
CUDA_HEADER = re.compile(r'^(cuda|cublas|cudnn|nccl|nvml|cutlass|cub/|thrust/)')
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def folder_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "src" else parts[0]


def problems_of(path):
    folder = folder_of(path)
    layer = LAYERS.get(folder)
    if layer is None:
        yield f"{path.relative_to(ROOT)}: folder '{folder}' has no layer in tools/check_layers.py"
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        where = f"{path.relative_to(ROOT)}:{number}"
        header = match.group(2)
        if CUDA_HEADER.match(header) and "backend/cuda" not in str(path):
            yield f"{where}: includes the CUDA header {header} outside src/backend/cuda"
        target = header.split("/")[0] if "/" in header and match.group(1) == '"' else folder
        if target == folder or target not in LAYERS:
            continue
        if folder in DEPENDS_ON_BASE_ALONE and target != "base":
            yield f"{where}: {folder} depends on base alone, but includes {header}"
        elif LAYERS[target] >= layer and (folder, target) not in SAME_LAYER_ALLOWED:
            yield f"{where}: {folder} (layer {layer}) includes {header} (layer {LAYERS[target]})"


def sources():
    for top in ("src", "server", "workload", "report", "economics", "bench", "apps"):
        for pattern in ("*.h", "*.cpp", "*.cu", "*.cuh"):
            yield from (ROOT / top).rglob(pattern)


def stray_tests():
    """Test files that tests/CMakeLists.txt does not pick up: not named *_test.cpp, or not in a folder of their own."""
    for path in (ROOT / "tests").rglob("*.cpp"):
        parts = path.relative_to(ROOT / "tests").parts
        if parts[0] in ("fuzz", "goldens") or path.name.startswith("fake_"):  # stand-ins that tests load
            continue
        if len(parts) < 2 or not path.name.endswith("_test.cpp"):
            yield f"{path.relative_to(ROOT)}: is in no test program; name it <file>_test.cpp in tests/<folder>/"


def main():
    found = [problem for path in sorted(sources()) for problem in problems_of(path)]
    found += list(stray_tests())
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"layers: {len(found)} problem{'' if len(found) == 1 else 's'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
