#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus/ from the goldens: small files of every form.

usage: python tests/fuzz/make_corpus.py
"""
import json
import pathlib
import struct

import numpy
from safetensors.numpy import save

TESTS = pathlib.Path(__file__).resolve().parents[1]
CORPUS = TESTS / "fuzz" / "corpus"
CONFIGS = ["llama", "llama-new-form", "llama-rope-yarn", "llama-rope-llama3", "mistral-window",
           "qwen2-window", "qwen3"]
QUANTIZED = ["awq", "gptq-act-order", "ct-fp8-static", "ct-w8a8", "ct-w4a16-asymmetric", "fp8-static", "modelopt-fp8",
             "modelopt-fp8-config"]
TOKENIZERS = ["gpt2", "llama3", "llama2", "mistral", "mixed", "words", "qwen2"]


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def without_most_tokens(tokenizer):
    """Bytes or letters, and the merges that are possible with them."""
    model = tokenizer["model"]
    size = 270 if "<0x00>" in model["vocab"] or "Ġ" in model["vocab"] else 60
    vocab = {token: i for token, i in model["vocab"].items() if i < size}
    prefix = model.get("continuing_subword_prefix") or ""
    merges = []
    for merge in model["merges"]:
        left, right = merge if isinstance(merge, list) else merge.split(" ", 1)
        joined = left + right.removeprefix(prefix)
        if left in vocab and right in vocab and joined in vocab:
            merges.append(merge)
    model["vocab"], model["merges"] = vocab, merges
    return tokenizer


def manifests():
    """Of engine directories: a plain one, and one with every optional field."""
    files = [{"name": "config.json", "size_bytes": 718, "sha256": "ca" * 32},
             {"name": "weights-00001-of-00001.safetensors", "size_bytes": 4096, "sha256": "0d" * 32}]
    plain = {"format": "iol-engine-directory", "format_version": 1, "tool_version": "0.1.0",
             "build_id": "fa" * 16, "model": {"architecture": "LlamaForCausalLM", "config": {}},
             "quantization": {"format": "int4", "group_size": 128, "head": "none", "keep": []},
             "kv_cache": "auto", "calibration": None,
             "source": {"model": "demo", "folder": "/models/demo", "files": files}, "files": files}
    calibrated = plain | {
        "quantization": {"format": "int8", "group_size": 64, "head": "fp8", "keep": ["down_proj"]},
        "kv_cache": "int8", "calibration": {"method": "smoothquant", "strength": 0.5}}
    return {"int4": plain, "calibrated": calibrated}


def main():
    for name in ["safetensors", "config", "tokenizer_json", "manifest", "quantization_config"]:
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
    tensors = CORPUS / "safetensors"
    (tensors / "two_tensors").write_bytes(save({
        "a": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
        "b": numpy.arange(4, dtype=numpy.float16)}))
    (tensors / "empty_and_scalar").write_bytes(save({
        "x": numpy.zeros((0,), numpy.float32), "s": numpy.ones((), numpy.float32)},
        metadata={"format": "pt"}))
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tensors / "bf16").write_bytes(struct.pack("<Q", len(header)) + header + b"\x80\x3f\x00\x40")
    golden = TESTS / "goldens" / "safetensors" / "every_dtype.safetensors"
    (tensors / "every_dtype").write_bytes(golden.read_bytes())
    for name in CONFIGS:
        config = json.loads((TESTS / "goldens" / "models" / name / "config.json").read_text())
        generation = b'\0{"eos_token_id":[1,2],"bos_token_id":0}' if name == "llama" else b""
        (CORPUS / "config" / name).write_bytes(compact(config) + generation)
    for name in QUANTIZED:
        folder = TESTS / "goldens" / "quantized" / name
        config = json.loads((folder / "config.json").read_text())
        settings = compact({key: value for key, value in config.items() if key == "quantization_config"})
        other = folder / "hf_quant_config.json"
        (CORPUS / "quantization_config" / name).write_bytes(
            settings + (b"\0" + compact(json.loads(other.read_text())) if other.exists() else b""))
    for name in TOKENIZERS:
        path = TESTS / "goldens" / "tokenizer" / f"{name}.json"
        tokenizer = without_most_tokens(json.loads(path.read_text(encoding="utf-8")))
        (CORPUS / "tokenizer_json" / name).write_bytes(compact(tokenizer))
    for name, manifest in manifests().items():
        (CORPUS / "manifest" / name).write_bytes(compact(manifest))


if __name__ == "__main__":
    main()
