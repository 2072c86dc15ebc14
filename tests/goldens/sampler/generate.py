"""Writes cases.json: logits through transformers' own LogitsProcessors, in the order of `generate`.

Each case holds the raw logits, the tokens so far, the parameters, the logits after bias, penalties
and min_tokens ("processed") and the probabilities after temperature and truncation
("probabilities"). transformers has no presence and frequency penalty: those two follow OpenAI's
formula, l -= frequency * count + presence * (count > 0), in f32 like the rest.

    python tests/goldens/sampler/generate.py      (transformers 5.17, torch 2.11)
"""

import json
import pathlib
import random

import torch
from transformers.generation.logits_process import (
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCAB_SIZE = 48
EOS_TOKEN_ID = 2


def make_parameters(rng: random.Random) -> dict:
    """Every field is left alone in about half of the cases."""

    def sometimes(value, default):
        return value if rng.random() < 0.5 else default

    return {
        "temperature": sometimes(round(rng.uniform(0.2, 2.0), 3), 1.0),
        "top_k": sometimes(rng.randint(1, 30), 0),
        "top_p": sometimes(round(rng.uniform(0.05, 0.99), 3), 1.0),
        "min_p": sometimes(round(rng.uniform(0.005, 0.5), 3), 0.0),
        "repetition_penalty": sometimes(round(rng.uniform(0.6, 1.9), 3), 1.0),
        "presence_penalty": sometimes(round(rng.uniform(-2.0, 2.0), 3), 0.0),
        "frequency_penalty": sometimes(round(rng.uniform(-2.0, 2.0), 3), 0.0),
        "logit_bias": sometimes(
            [[t, round(rng.uniform(-5.0, 5.0), 2)] for t in rng.sample(range(VOCAB_SIZE), 4)], []
        ),
        "min_tokens": sometimes(rng.randint(1, 12), 0),
    }


def process(logits, tokens, num_prompt_tokens, p):
    """Steps 1 to 4 of src/sampler/sampler.h."""
    ids = torch.tensor([tokens])
    output = tokens[num_prompt_tokens:]
    scores = torch.tensor([logits], dtype=torch.float32)
    if p["logit_bias"]:
        scores = SequenceBiasLogitsProcessor([[[t], b] for t, b in p["logit_bias"]])(ids, scores)
    if p["repetition_penalty"] != 1.0:
        scores = RepetitionPenaltyLogitsProcessor(p["repetition_penalty"])(ids, scores)
    counts = torch.zeros(VOCAB_SIZE, dtype=torch.float32)
    for token in output:
        counts[token] += 1
    scores = scores - torch.tensor(p["frequency_penalty"], dtype=torch.float32) * counts
    scores = scores - torch.tensor(p["presence_penalty"], dtype=torch.float32) * (counts > 0)
    if p["min_tokens"]:
        scores = MinNewTokensLengthLogitsProcessor(
            num_prompt_tokens, p["min_tokens"], EOS_TOKEN_ID
        )(ids, scores)
    return scores


def truncate(scores, tokens, p):
    """Steps 6 to 9."""
    ids = torch.tensor([tokens])
    if p["temperature"] != 1.0:
        scores = TemperatureLogitsWarper(p["temperature"])(ids, scores)
    if p["top_k"]:
        scores = TopKLogitsWarper(p["top_k"])(ids, scores)
    if p["top_p"] < 1.0:
        scores = TopPLogitsWarper(p["top_p"])(ids, scores)
    if p["min_p"]:
        scores = MinPLogitsWarper(p["min_p"])(ids, scores)
    return torch.softmax(scores.double(), dim=-1)


def as_list(row):
    return [None if value == float("-inf") else value for value in row.tolist()]


def main():
    rng = random.Random(20)
    cases = []
    for _ in range(60):
        generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
        spread = rng.uniform(0.5, 4.0)
        logits = torch.randn(VOCAB_SIZE, generator=generator, dtype=torch.float32) * spread
        tokens = [rng.randrange(VOCAB_SIZE) for _ in range(rng.randint(1, 40))]
        num_prompt_tokens = rng.randint(1, len(tokens))
        p = make_parameters(rng)
        processed = process(logits.tolist(), tokens, num_prompt_tokens, p)
        cases.append(
            {
                "parameters": p,
                "tokens": tokens,
                "num_prompt_tokens": num_prompt_tokens,
                "logits": logits.tolist(),
                "processed": as_list(processed[0]),
                "probabilities": [round(v, 12) for v in truncate(processed, tokens, p)[0].tolist()],
            }
        )
    document = {"eos_token_id": EOS_TOKEN_ID, "cases": cases}
    path = pathlib.Path(__file__).with_name("cases.json")
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
