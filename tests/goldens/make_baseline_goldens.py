"""Greedy outputs of models/books-2m in f32, for tests of the PyTorch baseline.

Computed the plain way, one sequence at a time, the whole sequence again for every token: no cache,
no padding, no generate(). Writes baseline_greedy.json beside this file.

Run from the source tree: .venv/bin/python tests/goldens/make_baseline_goldens.py
"""

import json
import pathlib

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
LENGTHS = [(5, 12), (40, 30), (17, 1), (60, 21), (33, 30)]  # input and output tokens


def main():
    folder = ROOT / "models/books-2m"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    text = (ROOT / "models/heldout.txt").read_text(encoding="utf-8")[20000:40000]
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(
        text, add_special_tokens=False).ids
    requests, smallest_margin = [], float("inf")
    for number, (num_input, num_output) in enumerate(LENGTHS):
        prompt = ids[number * 200:number * 200 + num_input]
        sequence = list(prompt)
        with torch.inference_mode():
            for _ in range(num_output):
                logits = model(torch.tensor([sequence]), use_cache=False).logits[0, -1]
                best = torch.topk(logits, 2)
                smallest_margin = min(smallest_margin, float(best.values[0] - best.values[1]))
                sequence.append(int(best.indices[0]))
        requests.append({"prompt": prompt, "tokens": sequence[num_input:]})
    output = pathlib.Path(__file__).with_name("baseline_greedy.json")
    # The margin says that no rounding difference of f32 can change a choice.
    output.write_text(json.dumps({"smallest_margin": smallest_margin, "requests": requests}) + "\n")
    print(f"{output}: smallest margin {smallest_margin:.5f}")


if __name__ == "__main__":
    main()
