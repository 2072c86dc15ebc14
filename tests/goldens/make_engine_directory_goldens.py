#!/usr/bin/env python3
"""Writes tests/goldens/engine_directory.json: the SHA-256 of every tensor that `iol build` has to
store for a small checkpoint in each format, by NumPy in f32 after the formulas of
src/backend/quantize_row.h.

usage: python tests/goldens/make_engine_directory_goldens.py
"""
import hashlib
import json
import pathlib

import numpy
import torch
from safetensors.torch import load_file

GOLDENS = pathlib.Path(__file__).resolve().parent
MODEL = "llama-bf16"
F32 = numpy.float32


def symmetric(weights, most):
    largest = numpy.abs(weights).max(axis=1, keepdims=True)
    inverse = numpy.where(largest > 0, F32(most) / numpy.where(largest > 0, largest, F32(1)), F32(0))
    scaled = numpy.clip(weights * inverse, -F32(most), F32(most))
    return scaled, largest / F32(most)


def int8(weights, _):
    scaled, scales = symmetric(weights, 127)
    return {"": numpy.rint(scaled).astype(numpy.int8), "_scale": scales}


def fp8(weights, _):
    scaled, scales = symmetric(weights, 448)
    codes = torch.from_numpy(scaled).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    return {"": codes, "_scale": scales}


def int4(weights, group):
    rows, columns = weights.shape
    grouped = weights.reshape(rows, columns // group, group)
    low = numpy.minimum(grouped.min(axis=2), F32(0))
    high = numpy.maximum(grouped.max(axis=2), F32(0))
    scales = (high - low) / F32(15)
    divisor = numpy.where(scales > 0, scales, F32(1))
    zeros = numpy.where(scales > 0, numpy.rint(-low / divisor), F32(0))
    codes = numpy.rint(grouped / divisor[..., None]) + zeros[..., None]
    codes = numpy.clip(numpy.where(scales[..., None] > 0, codes, F32(0)), 0, 15)
    codes = codes.astype(numpy.uint8).reshape(rows, columns)
    return {"": codes[:, 0::2] | codes[:, 1::2] << 4, "_scale": scales,
            "_zero": zeros.astype(numpy.uint8)}


def digest(array):
    return hashlib.sha256(numpy.ascontiguousarray(array).tobytes()).hexdigest()


def stored(name, tensor, quantize, group):
    if not name.endswith("_proj.weight"):
        return {name: digest(tensor.contiguous().view(torch.uint8).numpy())}
    parts = quantize(tensor.float().numpy(), group)
    for suffix, part in parts.items():
        assert suffix != "_scale" or part.dtype == F32
    return {name + suffix: digest(part) for suffix, part in parts.items()}


def main():
    tensors = load_file(GOLDENS / "models" / MODEL / "model.safetensors")
    builds = []
    for name, group, quantize in [("int8", 128, int8), ("int8-wo", 128, int8), ("fp8", 128, fp8),
                                  ("int4", 32, int4)]:
        hashes = {}
        for tensor_name, tensor in sorted(tensors.items()):
            hashes.update(stored(tensor_name, tensor, quantize, group))
        builds.append({"quant": name, "group_size": group, "sha256": hashes})
    golden = {"model": MODEL, "builds": builds}
    (GOLDENS / "engine_directory.json").write_text(json.dumps(golden, indent=0) + "\n")


if __name__ == "__main__":
    main()
