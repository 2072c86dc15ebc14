#!/usr/bin/env python3
"""Writes golden.json: configurations with every rope form, and the inverse frequencies and the attention factor that
transformers computes for each. tests/model/rope_test.cpp reads the same configurations with our parser.

usage: .venv/bin/python tests/goldens/rope/generate.py
"""
import copy
import json
import pathlib

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SIZES = dict(architectures=["LlamaForCausalLM"], hidden_size=256, intermediate_size=512, num_hidden_layers=1,
             num_attention_heads=4, vocab_size=128)


def old(theta, positions, scaling=None, **others):
    return SIZES | dict(rope_theta=theta, max_position_embeddings=positions, rope_scaling=scaling) | others


def new(positions, **parameters):
    return SIZES | dict(max_position_embeddings=positions, rope_parameters=parameters)


LLAMA31 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=8192)
CASES = {
    "default_without_rope_fields": SIZES | dict(max_position_embeddings=2048),
    "default_old_form": old(10000.0, 2048),
    "default_large_theta": old(1000000.0, 32768),
    "default_new_form": new(4096, rope_type="default", rope_theta=500000.0),
    "default_wide_heads": old(10000.0, 4096, head_dim=128),
    "linear_old_form": old(10000.0, 2048, dict(type="linear", factor=4.0)),
    "linear_new_form": new(2048, rope_type="linear", rope_theta=50000.0, factor=2.5),
    "dynamic_old_form": old(10000.0, 2048, dict(type="dynamic", factor=2.0)),
    "dynamic_new_form": new(2048, rope_type="dynamic", rope_theta=10000.0, factor=8.0),
    "llama31": old(500000.0, 131072, LLAMA31, head_dim=128),
    "llama32": old(500000.0, 131072, LLAMA31 | dict(factor=32.0)),
    "llama3_new_form": new(131072, rope_theta=500000.0, **LLAMA31),
    "llama3_other_factors": old(10000.0, 4096, LLAMA31 | dict(
        factor=3.0, low_freq_factor=2.0, high_freq_factor=16.0, original_max_position_embeddings=512)),
    "yarn_old_form": old(10000.0, 16384, dict(type="yarn", factor=4.0, original_max_position_embeddings=4096)),
    "yarn_new_form": new(131072, rope_type="yarn", rope_theta=1000000.0, factor=4.0,
                         original_max_position_embeddings=32768),
    "yarn_without_original": new(4096, rope_type="yarn", rope_theta=10000.0, factor=2.0),
    "yarn_betas": new(8192, rope_type="yarn", rope_theta=10000.0, factor=8.0, beta_fast=16.0, beta_slow=2.0,
                      original_max_position_embeddings=1024),
    "yarn_attention_factor": new(8192, rope_type="yarn", rope_theta=10000.0, factor=8.0, attention_factor=0.75,
                                 original_max_position_embeddings=1024),
    "yarn_not_truncated": new(8192, rope_type="yarn", rope_theta=150000.0, factor=32.0, truncate=False,
                              original_max_position_embeddings=4096),
    "yarn_factor_one": new(4096, rope_type="yarn", rope_theta=10000.0, factor=1.0,
                           original_max_position_embeddings=4096),
    # An old and a new field that contradict each other.
    "both_forms": old(10000.0, 2048, dict(type="linear", factor=4.0),
                      rope_parameters=dict(rope_type="linear", rope_theta=20000.0, factor=2.0)),
}


def oracle(fields):
    config = transformers.LlamaConfig.from_dict(copy.deepcopy(fields))
    kind = config.rope_parameters["rope_type"]
    compute = ROPE_INIT_FUNCTIONS.get(kind, LlamaRotaryEmbedding.compute_default_rope_parameters)
    inv_freq, attention_factor = compute(config)
    return dict(config=fields, inv_freq=inv_freq.to(torch.float64).tolist(), attention_factor=float(attention_factor))


cases = {name: oracle(fields) for name, fields in CASES.items()}
text = json.dumps(dict(transformers=transformers.__version__, cases=cases), indent=1)
(pathlib.Path(__file__).resolve().parent / "golden.json").write_text(text + "\n")
