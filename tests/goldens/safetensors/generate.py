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
    "naïve name \"quoted\"": torch.ones(1),
}
save_file(tensors, FOLDER / "every_dtype.safetensors", metadata={"format": "pt"})
golden = {name: {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape),
                 "values": tensor.double().flatten().tolist()} for name, tensor in tensors.items()}
(FOLDER / "every_dtype.json").write_text(json.dumps(golden) + "\n")
