#!/usr/bin/env python3
"""Writes tests/goldens/loss.json: the loss of models/books-16m on the first windows of
models/heldout.txt, by transformers in f32. Windows of 2048 tokens that do not overlap; the first
token of each is not scored; no leading special token.

usage: python tests/goldens/make_loss_golden.py
"""
import json
import pathlib

import tokenizers
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
WINDOW = 2048
NUM_WINDOWS = 10

model = transformers.AutoModelForCausalLM.from_pretrained(
    ROOT / "models" / "books-16m", dtype=torch.float32)
tokenizer = tokenizers.Tokenizer.from_file(str(ROOT / "models" / "books-16m" / "tokenizer.json"))
text = (ROOT / "models" / "heldout.txt").read_text(encoding="utf-8")
ids = tokenizer.encode(text, add_special_tokens=False).ids
total = 0.0
with torch.inference_mode():
    for window in range(NUM_WINDOWS):
        tokens = torch.tensor(ids[window * WINDOW:(window + 1) * WINDOW])
        logits = model(tokens[None]).logits[0, :-1].double()
        total += torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="sum").item()
scored = NUM_WINDOWS * (WINDOW - 1)
golden = {"windows": NUM_WINDOWS, "scored_tokens": scored, "loss_nats": round(total / scored, 6)}
(ROOT / "tests" / "goldens" / "loss.json").write_text(json.dumps(golden) + "\n")
