#!/usr/bin/env python3
"""Writes tests/goldens/calibration.json: what SmoothQuant and AWQ find on models/books-16m, by transformers and PyTorch: the
statistics of the inputs, the output error of every candidate, and how often each clip ratio is best. The definitions are those of
the headers in src/quantization and src/backend/quantize_row.h, written down again.

With --quality it prints perplexity and KL divergence of int4 on models/heldout.txt instead, rounded to nearest and by AWQ: what the
method gives in PyTorch.

usage: python tests/goldens/make_calibration_goldens.py [--quality]
"""
import json
import math
import pathlib
import sys

import tokenizers
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = (0, 5)
NUM_TOKENS, WINDOW, NUM_ROWS, SEED = 2048, 512, 256, 7
SEARCH_ROWS, GROUP, CLIPS, CLIP_STEP = 512, 128, 11, 0.05
MASK = (1 << 64) - 1
torch.set_grad_enabled(False)


def mix64(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def random_bits(seed, stream, counter):
    gamma = 0x9E3779B97F4A7C15
    state = mix64((seed + gamma) & MASK)
    state = mix64(state ^ ((stream * gamma + 0x632BE59BD9B4E019) & MASK))
    return mix64((state + (counter + 1) * gamma) & MASK)


def draw_rows(bound, count, seed):
    drawn = []
    for i in range(bound):
        if len(drawn) == count:
            break
        if (random_bits(seed, 0, i) * (bound - i)) >> 64 < count - len(drawn):
            drawn.append(i)
    return drawn


def int8(rows):
    largest = rows.abs().amax(-1, keepdim=True)
    inverse = torch.where(largest > 0, 127 / largest, torch.zeros_like(largest))
    return torch.round(rows * inverse) * (largest / 127)


def int4(rows):
    grouped = rows.reshape(rows.shape[0], -1, GROUP)
    low = grouped.amin(-1, keepdim=True).clamp(max=0)
    high = grouped.amax(-1, keepdim=True).clamp(min=0)
    scale = (high - low) / 15
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero = torch.round(-low / safe)
    codes = (torch.round(grouped / safe) + zero).clamp(0, 15)
    return ((codes - zero) * scale).reshape(rows.shape)


def sites(model, layer):
    """(input, consumers, query heads that share a head of v, its size)"""
    block = model.model.layers[layer]
    attention, mlp, config = block.self_attn, block.mlp, model.config
    group = config.num_attention_heads // config.num_key_value_heads
    yield "qkv", [attention.q_proj, attention.k_proj, attention.v_proj], 1, config.hidden_size
    yield "output", [attention.o_proj], group, config.head_dim
    yield "gate_up", [mlp.gate_proj, mlp.up_proj], 1, config.hidden_size
    yield "down", [mlp.down_proj], 1, config.intermediate_size


def gather(model, tokens, layers, window, num_rows, seed):
    """{(layer, input): (max |x|, mean |x|, sampled rows)}"""
    seen, hooks = {}, []
    for layer in layers:
        for name, consumers, _, _ in sites(model, layer):
            store = seen.setdefault((layer, name), [])
            hooks.append(consumers[0].register_forward_pre_hook(
                lambda module, args, store=store: store.append(args[0].reshape(-1, args[0].shape[-1]))))
    for begin in range(0, len(tokens), window):
        model.model(torch.tensor(tokens[begin:begin + window])[None])
    for hook in hooks:
        hook.remove()
    rows = draw_rows(len(tokens), num_rows, seed)
    found = {}
    for key, parts in seen.items():
        x = torch.cat(parts)
        found[key] = (x.abs().amax(0), x.abs().double().mean(0).float(), x[rows])
    return found


def pooled(values, group, dim, reduce):
    return reduce(values.view(-1, group, dim), 1)


def expanded(values, group, dim):
    return values.view(-1, 1, dim).expand(-1, group, dim).reshape(-1)


def centered(scales):
    scales = scales.float()
    return scales / torch.sqrt(scales.min() * scales.max())


def candidates(method, largest, mean, weights, group, dim):
    """[(strength or None, columns)]"""
    result = [(None, torch.ones_like(largest))]
    for i in range(21):
        strength = i / 20
        if method == "smoothquant":
            x = pooled(largest, group, dim, torch.amax)
            w = pooled(weights.abs().amax(0), group, dim, torch.amax)
            x, w = x.clamp(min=1e-5 * x.max()), w.clamp(min=1e-5 * w.max())
            scales = x.double() ** strength / w.double() ** (1 - strength)
        else:
            if i == 0:
                continue
            x = pooled(mean, group, dim, torch.sum)
            scales = x.clamp(min=1e-4 * x.max()).double() ** strength
        result.append((strength, expanded(centered(scales), group, dim)))
    return result


def output_error(method, weights, rows, columns):
    step = math.ceil(weights.shape[0] / SEARCH_ROWS)
    searched = weights[::step]
    wanted = rows.double() @ searched.double().T
    if method == "smoothquant":
        got = int8(rows / columns).double() @ int8(searched * columns).double().T
    else:
        got = (rows / columns).double() @ int4(searched * columns).double().T
    return ((got - wanted).square().sum() / wanted.square().sum()).item()


def clipped(scaled, steps):
    grouped = scaled.reshape(scaled.shape[0], -1, GROUP)
    low = grouped.amin(-1, keepdim=True).clamp(max=0)
    high = grouped.amax(-1, keepdim=True).clamp(min=0)
    ratio = 1 - steps * CLIP_STEP
    return torch.minimum(torch.maximum(grouped, low * ratio), high * ratio).reshape(scaled.shape)


def search_clips(weights, rows, columns):
    """[N, groups] of the best steps"""
    scaled = weights * columns
    x = (rows / columns).double().view(rows.shape[0], -1, GROUP)
    moments = torch.einsum("rgi,rgj->gij", x, x)
    errors = []
    for steps in range(CLIPS):
        difference = (int4(clipped(scaled, steps)) - scaled).double().view(scaled.shape[0], -1, GROUP)
        errors.append((torch.einsum("ngi,gij->ngj", difference, moments) * difference).sum(-1))
    return torch.stack(errors).argmin(0)


def make_goldens(model, tokens):
    statistics = gather(model, tokens[:NUM_TOKENS], LAYERS, WINDOW, NUM_ROWS, SEED)
    entries = []
    for layer in LAYERS:
        for name, consumers, group, dim in sites(model, layer):
            largest, mean, rows = statistics[layer, name]
            weights = torch.cat([consumer.weight for consumer in consumers])
            entry = {"layer": layer, "input": name, "max_abs": largest[:8].tolist(), "mean_abs": mean[:8].tolist()}
            for method in ("smoothquant", "awq"):
                tried = candidates(method, largest, mean, weights, group, dim)
                errors = [output_error(method, weights, rows, columns) for _, columns in tried]
                best = min(range(len(errors)), key=errors.__getitem__)
                entry[method] = {"errors": [float(f"{e:.6g}") for e in errors], "strength": tried[best][0]}
                if method == "awq":
                    counts = torch.bincount(search_clips(weights, rows, tried[best][1]).flatten(), minlength=CLIPS)
                    entry["clip_counts"] = counts.tolist()
            entries.append(entry)
    golden = {"tokens": tokens[:NUM_TOKENS], "window": WINDOW, "num_rows": NUM_ROWS, "seed": SEED,
              "first_rows": draw_rows(NUM_TOKENS, NUM_ROWS, SEED)[:16], "sites": entries}
    (ROOT / "tests" / "goldens" / "calibration.json").write_text(json.dumps(golden) + "\n")


def quantize_model(model, statistics):
    """int4 in place; by AWQ with statistics, else to the nearest."""
    for layer in range(model.config.num_hidden_layers):
        for name, consumers, group, dim in sites(model, layer):
            columns = torch.ones(consumers[0].weight.shape[1])
            weights = torch.cat([consumer.weight for consumer in consumers])
            if statistics:
                largest, mean, rows = statistics[layer, name]
                columns = min((c for _, c in candidates("awq", largest, mean, weights, group, dim)),
                              key=lambda c: output_error("awq", weights, rows, c))
            scaled = weights * columns
            if statistics:
                best = search_clips(weights, rows, columns).repeat_interleave(GROUP, 1)
                scaled = sum(torch.where(best == s, clipped(scaled, s), torch.zeros_like(scaled)) for s in range(CLIPS))
            parts = (int4(scaled) / columns).split([c.weight.shape[0] for c in consumers])
            for consumer, part in zip(consumers, parts):
                consumer.weight.data.copy_(part)


def quality(load, tokenizer, tokens):
    heldout = tokenizer.encode((ROOT / "models" / "heldout.txt").read_text(encoding="utf-8"), add_special_tokens=False).ids
    windows = [torch.tensor(heldout[i * 2048:(i + 1) * 2048]) for i in range(20)]
    base = load()
    reference = [base(w[None]).logits[0, :-1].log_softmax(-1) for w in windows]
    statistics = gather(base, tokens[:16384], range(base.config.num_hidden_layers), 512, 512, 0)
    for label, given in (("round to nearest", None), ("AWQ", statistics)):
        model = load()
        quantize_model(model, given)
        loss = divergence = before = 0.0
        for window, wanted in zip(windows, reference):
            got = model(window[None]).logits[0, :-1].log_softmax(-1)
            loss -= got.gather(1, window[1:, None]).double().sum().item()
            before -= wanted.gather(1, window[1:, None]).double().sum().item()
            divergence += (wanted.exp() * (wanted - got)).double().sum().item()
        count = 20 * 2047
        print(f"int4 {label}: perplexity {math.exp(loss / count):.3f}, {100 * math.expm1((loss - before) / count):+.2f} %, "
              f"KL {divergence / count:.4f}", flush=True)


def main():
    folder = ROOT / "models" / "books-16m"
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = tokenizer.encode((ROOT / "models" / "calibration.txt").read_text(encoding="utf-8"), add_special_tokens=False).ids

    def load():
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if "--quality" in sys.argv:
        quality(load, tokenizer, tokens)
    else:
        make_goldens(load(), tokens)


if __name__ == "__main__":
    main()
