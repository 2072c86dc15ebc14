#!/usr/bin/env python3
"""Writes tests/goldens/quality_intervals.json: made-up sums over windows and the 95 % intervals that
NumPy gives for them: the percentile bootstrap of bench/quality/quality_intervals.h, with the
windows that its counter-based random numbers draw (src/base/random.h, in plain integers here).

usage: python tests/goldens/make_quality_goldens.py
"""
import json
import pathlib

import numpy

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def mix64(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def random_bits(seed, stream, counter):
    state = mix64((seed + GAMMA) & MASK)
    state = mix64(state ^ ((stream * GAMMA + 0x632BE59BD9B4E019) & MASK))
    return mix64((state + (counter + 1) * GAMMA) & MASK)


def interval(values):
    return [float(v) for v in numpy.percentile(values, [2.5, 97.5])]


def case(seed, num_windows):
    generator = numpy.random.default_rng(seed)
    scored = numpy.full(num_windows, 511)
    scored[-1] = 100
    reference = scored * generator.normal(3.2, 0.2, num_windows)
    nll = reference + scored * generator.normal(0.01, 0.005, num_windows)
    divergence = scored * generator.uniform(0.001, 0.01, num_windows)
    same = numpy.round(scored * generator.uniform(0.95, 0.99, num_windows)).astype(int)
    drawn = numpy.array([[(random_bits(seed, r, i) * num_windows) >> 64 for i in range(num_windows)]
                         for r in range(1000)])
    count = scored[drawn].sum(axis=1)
    return {
        "seed": seed,
        "windows": [{"scored": int(s), "nll": float(a), "reference_nll": float(b), "kl": float(k),
                     "same_top": int(t)}
                    for s, a, b, k, t in zip(scored, nll, reference, divergence, same)],
        "perplexity_ci95": interval(numpy.exp(nll[drawn].sum(axis=1) / count)),
        "perplexity_ratio_ci95": interval(
            numpy.exp((nll[drawn].sum(axis=1) - reference[drawn].sum(axis=1)) / count)),
        "kl_divergence_ci95_nats": interval(divergence[drawn].sum(axis=1) / count),
        "top1_agreement_ci95": interval(same[drawn].sum(axis=1) / count)}


def main():
    golden = [case(0, 5), case(7, 40)]
    path = pathlib.Path(__file__).resolve().parent / "quality_intervals.json"
    path.write_text(json.dumps(golden, indent=0) + "\n")


if __name__ == "__main__":
    main()
