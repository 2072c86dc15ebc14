#!/usr/bin/env python3
"""Writes tests/goldens/safetensors/: a file of the `safetensors` package with every dtype that we
read, and what is in it.

usage: python tests/goldens/safetensors/generate.py
"""
import json
import pathlib

import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parent

torch.manual_seed(0)
tensors = {
    "z.first": torch.randn(3, 5, dtype=torch.float32),
    "a.second": torch.randn(7, dtype=torch.float32).to(torch.bfloat16),
    "half": torch.randn(2, 2, 2).to(torch.float16),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "integers": torch.arange(-3, 4, dtype=torch.int8),
    "wide": torch.tensor([-(2**53), 0, 2**53], dtype=torch.int64),
    "words": torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
    "shorts": torch.tensor([[-(2**15)], [2**15 - 1]], dtype=torch.int16),
    "bytes": torch.tensor([0, 255], dtype=torch.uint8),
    "flags": torch.tensor([True, False, True]),
    "doubles": torch.tensor([1e300, -0.1], dtype=torch.float64),
    "eighths": torch.tensor([448, -1.125, 2**-9, 0]).to(torch.float8_e4m3fn),
    "naïve name \"quoted\"": torch.ones(1),
}
save_file(tensors, FOLDER / "every_dtype.safetensors", metadata={"format": "pt"})
golden = {name: {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape),
                 "values": tensor.double().flatten().tolist()} for name, tensor in tensors.items()}
(FOLDER / "every_dtype.json").write_text(json.dumps(golden) + "\n")
