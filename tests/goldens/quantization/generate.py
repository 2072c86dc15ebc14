#!/usr/bin/env python3
"""Writes cases.json: rows of weights in every format by NumPy and PyTorch (float8_e4m3fn), and all E4M3 codes.

f32 numbers are written as their bits, so that the comparison is exact.
"""
import json
import pathlib

import numpy as np
import torch

F32 = np.float32


def bits(values):
    return np.asarray(values, F32).view(np.uint32).tolist()


def symmetric(row, most, to_codes, from_codes):
    largest = np.abs(row).max()
    inverse = F32(most) / largest if largest > F32(1e-30) else F32(0)
    codes = to_codes(np.clip(row * inverse, F32(-most), F32(most)))
    scale = largest / F32(most)
    return {"codes": codes.view(np.uint8).tolist(), "scales": bits([scale]), "zeros": [],
            "dequantized": bits(from_codes(codes) * scale)}


def int8(row):
    return symmetric(row, 127, lambda x: np.rint(x).astype(np.int8), lambda c: c.astype(F32))


def fp8(row):
    def to_codes(x):
        return torch.from_numpy(x.copy()).to(torch.float8_e4m3fn).view(torch.uint8).numpy()

    def from_codes(codes):
        return torch.from_numpy(codes).view(torch.float8_e4m3fn).to(torch.float32).numpy()
    return symmetric(row, 448, to_codes, from_codes)


def int4(row, group):
    groups = row.reshape(-1, group)
    low = np.minimum(groups.min(axis=1), F32(0))
    high = np.maximum(groups.max(axis=1), F32(0))
    scale = (high - low) / F32(15)
    safe = np.where(scale > 0, scale, F32(1))
    zero = np.where(scale > 0, np.rint(-low / safe), F32(0)).astype(F32)
    codes = np.where(scale[:, None] > 0, np.rint(groups / safe[:, None]) + zero[:, None], F32(0))
    codes = np.clip(codes, F32(0), F32(15)).astype(F32)
    return {"codes": codes.astype(np.uint8).ravel().tolist(), "scales": bits(scale),
            "zeros": zero.astype(np.uint8).tolist(),
            "dequantized": bits(((codes - zero[:, None]) * scale[:, None]).ravel())}


def main():
    random = np.random.default_rng(4)
    rows = {
        "normal": random.standard_normal(256).astype(F32),
        "outliers": (random.standard_normal(256) * np.where(random.random(256) < 0.02, 50, 0.02)).astype(F32),
        "bf16": torch.from_numpy(random.standard_normal(256).astype(F32)).bfloat16().float().numpy(),
        "positive": random.random(256).astype(F32) + F32(0.5),
        "ties": (np.arange(256) - 127.5).astype(F32) / F32(127.5) * F32(127),
        "tiny": (random.standard_normal(256) * 1e-20).astype(F32),
        "zeros": np.zeros(256, F32),
    }
    cases = []
    for name, row in rows.items():
        formats = {"int8": int8(row), "int8-wo": int8(row), "fp8": fp8(row)}
        for group in (32, 64, 128):
            formats[f"int4:{group}"] = int4(row, group)
        cases.append({"name": name, "weights": bits(row), "formats": formats})
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)
    values = np.concatenate([random.standard_normal(400) * scale for scale in (1e-3, 0.02, 1, 100, 300)])
    values = np.concatenate([values, [0, -0.0, 448, 449, 463, 464, 2**-9, 2**-10, 3 * 2**-10, 2**-6]]).astype(F32)
    clipped = torch.from_numpy(np.clip(values, F32(-448), F32(448)))
    document = {"rows": cases, "e4m3_values": bits(codes.float().numpy()),
                "rounding": {"values": bits(values), "codes": clipped.to(torch.float8_e4m3fn).view(torch.uint8).tolist()}}
    path = pathlib.Path(__file__).with_name("cases.json")
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
