#!/usr/bin/env python3
"""Writes the tiny checkpoints and the oracle's answers that tests/model and tests/engine compare with.

For every architecture and rope form that the engine knows: a random model of a few thousand weights, made and run by
transformers in f32 with eager attention. See README.md beside this file for the form of golden.json.

usage: .venv/bin/python tests/goldens/models/generate.py
"""
import json
import pathlib
import shutil

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
NUM_PROMPT_TOKENS = 40
NUM_NEW_TOKENS = 200

SIZES = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             head_dim=16, vocab_size=128, max_position_embeddings=512, rms_norm_eps=1e-5, bos_token_id=1,
             eos_token_id=2, pad_token_id=0)


def rope(kind, **parameters):
    return dict(rope_theta=10000.0, rope_type=kind, **parameters)


# name -> (configuration class, changed fields, form of the rope fields on disk, storage dtype)
MODELS = {
    "llama": ("LlamaConfig", dict(), "old", "f32"),
    "llama-new-form": ("LlamaConfig", dict(rope_parameters=rope("default") | {"rope_theta": 500000.0}), "new", "f32"),
    "llama-tied": ("LlamaConfig", dict(tie_word_embeddings=True), "new", "f32"),
    "llama-biases": ("LlamaConfig", dict(attention_bias=True, mlp_bias=True), "old", "f32"),
    "llama-rope-llama3": ("LlamaConfig", dict(rope_parameters=rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)), "old", "f32"),
    "llama-rope-linear": ("LlamaConfig", dict(rope_parameters=rope("linear", factor=4.0)), "old", "f32"),
    "llama-rope-dynamic": ("LlamaConfig", dict(rope_parameters=rope("dynamic", factor=2.0)), "new", "f32"),
    "llama-rope-yarn": ("LlamaConfig", dict(rope_parameters=rope(
        "yarn", factor=8.0, original_max_position_embeddings=64)), "new", "f32"),
    "mistral-window": ("MistralConfig", dict(sliding_window=24), "new", "f32"),
    "qwen2": ("Qwen2Config", dict(tie_word_embeddings=True), "old", "f32"),
    "qwen2-window": ("Qwen2Config", dict(use_sliding_window=True, sliding_window=20, max_window_layers=1), "new", "f32"),
    "qwen3": ("Qwen3Config", dict(head_dim=32), "new", "f32"),
    "llama-bf16": ("LlamaConfig", dict(), "old", "bf16"),
    "llama-f16-sharded": ("LlamaConfig", dict(), "new", "f16"),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def random_model(config, dtype, seed):
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.copy_(1 + 0.2 * torch.randn_like(weight))
            elif weight.ndim == 1:
                weight.copy_(0.3 * torch.randn_like(weight))
            else:  # wide enough that the logits are far apart
                weight.copy_(torch.randn_like(weight) * (1.6 / weight.shape[1] ** 0.5))
            weight.copy_(weight.to(dtype).float())
    return model.eval()


def greedy(model, prompt):
    """200 tokens with the whole sequence recomputed at each step: no cache, nothing to get wrong."""
    ids, margin = list(prompt), float("inf")
    first = last = None
    with torch.inference_mode():
        for _ in range(NUM_NEW_TOKENS):
            last = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].float()
            first = last if first is None else first
            top = torch.topk(last, 2)
            margin = min(margin, float(top.values[0] - top.values[1]))
            ids.append(int(top.indices[0]))
    return ids[len(prompt):], first, last, margin


def answers(model, prompt):
    tokens, first, last, margin = greedy(model, prompt)
    rounded = lambda logits: [float(f"{x:.7g}") for x in logits.tolist()]
    return dict(transformers=transformers.__version__, torch=torch.__version__.split("+")[0], prompt=prompt, tokens=tokens,
                smallest_margin=margin, first_logits=rounded(first), last_logits=rounded(last))


def write_old_form(path):
    """config.json as transformers 4 wrote it."""
    config = json.loads(path.read_text())
    parameters = config.pop("rope_parameters", None) or {}
    config["rope_theta"] = parameters.pop("rope_theta", 10000.0)
    kind = parameters.pop("rope_type", "default")
    config["rope_scaling"] = None if kind == "default" else {"type" if kind == "linear" else "rope_type": kind, **parameters}
    config["torch_dtype"] = config.pop("dtype", "float32")
    path.write_text(json.dumps(config, indent=1))


def save(model, folder, form, dtype):
    model.to(DTYPES[dtype]).save_pretrained(folder, max_shard_size="30KB" if "sharded" in folder.name else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    if form == "old":
        write_old_form(folder / "config.json")


def make(name):
    kind, changes, form, dtype = MODELS[name]
    folder = HERE / name
    for seed in range(1, 60):  # the first seed whose greedy path has no near tie
        config = getattr(transformers, kind)(**(SIZES | changes))
        model = random_model(config, DTYPES[dtype], seed)
        generator = torch.Generator().manual_seed(seed)
        prompt = torch.randint(3, SIZES["vocab_size"], (NUM_PROMPT_TOKENS,), generator=generator).tolist()
        golden = answers(model, prompt)
        if golden["smallest_margin"] > 2e-3:
            break
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    save(model, folder, form, dtype)
    (folder / "golden.json").write_text(json.dumps(golden))
    print(f"{name}: seed {seed}, margin {golden['smallest_margin']:.4f}, {len(set(golden['tokens']))} different tokens")


def make_shipped(name):
    """The demo models: f32 answers to a fixed text, and bf16 logits."""
    source = HERE.parents[2] / "models" / name
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    prompt = tokenizer("It was a bright cold day in April, and the old captain looked at the sea.")["input_ids"]
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
    golden = answers(model, prompt)
    model = model.to(torch.bfloat16)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, -1].float()
    golden["bf16_logits"] = [float(f"{x:.7g}") for x in logits.tolist()]
    (HERE / f"{name}.json").write_text(json.dumps(golden))
    print(f"{name}: margin {golden['smallest_margin']:.5f}")


if __name__ == "__main__":
    for model_name in MODELS:
        make(model_name)
    for model_name in ("books-16m", "books-2m"):
        make_shipped(model_name)
