"""Writes tests/goldens/report/: a small run's records.jsonl and what its summary must say.

The expectations are computed here from the definitions, with Python's standard library alone, so
that they share nothing with the C++ that the tests compare with them.

    python3 tests/goldens/make_report_goldens.py
"""

import json
import math
import pathlib
import random
import statistics

FOLDER = pathlib.Path(__file__).parent / "report"
RUN_ID = "golden-run"
SECOND = 1_000_000_000
SLO = {"ttft_ms": 30.0, "tpot_ms": 6.0}
WEIGHT_BYTES, KV_BYTES = 2.0e8, 5.0e4
REPETITIONS = 6


def envelope(record_type, **fields):
    return {"record_type": record_type, "schema_version": 1, "run_id": RUN_ID, **fields}


def in_unit(milliseconds, unit):
    factor = {"ns": 1e6, "us": 1e3, "ms": 1.0, "s": 1e-3}[unit]
    return {"value": milliseconds * factor, "unit": unit}


def make_request(rng, key, phase, index, start_ns):
    slow = 4.0 if key["subject"] == "slow" else 1.5
    input_tokens = rng.randint(20, 60)
    asked = 8
    tokens = 1 if index == 3 else asked
    ttft = slow * rng.uniform(4, 9)
    gaps = [slow * rng.uniform(0.9, 1.6) for _ in range(tokens - 1)]
    end_ns = start_ns + round((ttft + sum(gaps)) * 1e6)
    e2e = (end_ns - start_ns) / 1e6
    failed = key["subject"] == "slow" and key["repetition"] == 2 and index == 5
    metadata = {
        **key, "request_id": str(index), "phase": phase, "intended_start_ns": start_ns,
        "start_ns": start_ns + 1000, "end_ns": end_ns, "requested_output_tokens": asked,
    }
    metrics = {
        "time_to_first_token": in_unit(ttft, rng.choice(["ns", "us", "ms", "s"])),
        "request_latency": in_unit(e2e, rng.choice(["us", "ms", "s"])),
        "input_sequence_length": {"value": input_tokens, "unit": "tokens"},
        "output_sequence_length": {"value": tokens, "unit": "tokens"},
        "itl": {"value": gaps, "unit": "ms"},
    }
    error = {"type": "Timeout", "message": "no answer"} if failed else None
    truth = {
        "key": key, "phase": phase, "failed": failed, "ttft": ttft, "e2e": e2e, "gaps": gaps,
        "input": input_tokens, "output": tokens, "start_ns": start_ns, "end_ns": end_ns,
    }
    return envelope("request", metadata=metadata, metrics={} if failed else metrics, error=error), truth


def make_run():
    rng = random.Random(7)
    records = [envelope("environment", command="iol bench golden", seed=11, slo=SLO)]
    for name in ("slow", "fast"):
        records.append(envelope("subject", name=name, kind="iol", model={"name": "golden"},
                                weight_bytes_per_step=WEIGHT_BYTES, kv_bytes_per_token=KV_BYTES))
    truths, canaries, now = [], {}, 5 * SECOND
    for repetition in range(REPETITIONS):
        for subject in ("slow", "fast"):
            key = {"subject": subject, "scenario": "throughput", "concurrency": 2,
                   "repetition": repetition}
            before = rng.uniform(4.9e10, 5.1e10)
            after = before * (1.2 if repetition == 4 and subject == "fast" else 1.01)
            canaries[subject, repetition] = (before, after)
            for position, value in (("before", before), ("after", after)):
                records.append(envelope("canary", **key, position=position, read_bytes_per_s=value))
            last = now
            for index in range(7):
                phase = "warmup" if index == 0 else "measure"
                start = now + index // 2 * 20_000_000 + 17 * index
                record, truth = make_request(rng, key, phase, index, start)
                records.append(record)
                truths.append(truth)
                last = max(last, truth["end_ns"])
            step = (last - now) // 7
            for i in range(-1, 10):
                records.append(envelope(
                    "device_sample", t_ns=now + i * step, device="gpu0", subject=subject,
                    power_w=100 + 10 * math.sin(i) + (20 if subject == "slow" else 0),
                    memory_used_bytes=1_000_000 + 1000 * i))
            now = last + SECOND
    return records, truths, canaries


def percentile(values, percent):
    """The smallest value with at least `percent` % of the values at or below it."""
    return min(v for v in values if sum(w <= v for w in values) * 100 >= percent * len(values))


def describe(values):
    return {"count": len(values), "mean": statistics.fmean(values), "std": statistics.stdev(values),
            "p50": percentile(values, 50), "p90": percentile(values, 90),
            "p95": percentile(values, 95), "p99": percentile(values, 99), "max": max(values)}


def tpot(truth):
    return (truth["e2e"] - truth["ttft"]) / (truth["output"] - 1)


def power_at(samples, t):
    for (t0, p0), (t1, p1) in zip(samples, samples[1:]):
        if t0 <= t <= t1:
            return p0 + (p1 - p0) * (t - t0) / (t1 - t0)
    raise ValueError(t)


def energy(samples, begin, end):
    """Trapezoids between every sample inside the window and its two edges."""
    points = [(begin, power_at(samples, begin))]
    points += [s for s in samples if begin < s[0] < end] + [(end, power_at(samples, end))]
    return sum((p0 + p1) / 2 * (t1 - t0) / 1e9 for (t0, p0), (t1, p1) in zip(points, points[1:]))


def one_repetition(truths, canary, samples):
    good = [t for t in truths if not t["failed"]]
    begin = min(t["start_ns"] for t in truths)
    end = max(t["end_ns"] for t in good)
    multi = [tpot(t) for t in good if t["output"] > 1]
    context = statistics.fmean(t["input"] + t["output"] / 2 for t in good)
    floor_ms = (WEIGHT_BYTES + KV_BYTES * context * 2) / statistics.fmean(canary) * 1e3
    meets = [t for t in good if t["ttft"] <= SLO["ttft_ms"]
             and (t["output"] == 1 or tpot(t) <= SLO["tpot_ms"])]
    return {
        "seconds": (end - begin) / 1e9, "tokens": sum(t["output"] for t in good),
        "requests": len(good), "good": len(meets), "ttft": percentile([t["ttft"] for t in good], 50),
        "tpot": percentile(multi, 50), "e2e": percentile([t["e2e"] for t in good], 50),
        "floor": floor_ms, "fraction": floor_ms / percentile(multi, 50),
        "joules": energy(samples, begin, end), "moved": abs(canary[1] / canary[0] - 1) > 0.10,
        "off": abs(sum(t["output"] for t in good) / (8 * len(good)) - 1) > 0.10,
    }


def ratio(numerators, denominators):
    """Median ratio by logarithms; with six pairs the 95 % interval is the range."""
    logs = sorted(math.log(a / b) for a, b in zip(numerators, denominators))
    return {"ratio": math.exp(statistics.median(logs)),
            "interval": [math.exp(logs[0]), math.exp(logs[-1])], "pairs": len(logs)}


def expect(records, truths, canaries):
    samples = [r for r in records if r["record_type"] == "device_sample"]
    expected, per_subject = {"summaries": {}, "comparisons": {}}, {}
    for subject in ("slow", "fast"):
        measured = [t for t in truths if t["key"]["subject"] == subject and t["phase"] == "measure"]
        good = [t for t in measured if not t["failed"]]
        power = [(s["t_ns"], s["power_w"]) for s in samples if s["subject"] == subject]
        runs = [one_repetition([t for t in measured if t["key"]["repetition"] == r],
                               canaries[subject, r], power) for r in range(REPETITIONS)]
        per_subject[subject] = runs
        seconds = sum(r["seconds"] for r in runs)
        expected["summaries"][subject] = {
            "requests": len(measured), "failed": len(measured) - len(good),
            "metrics": {
                "time_to_first_token": describe([t["ttft"] for t in good]),
                "inter_token_latency": describe([tpot(t) for t in good if t["output"] > 1]),
                "request_latency": describe([t["e2e"] for t in good]),
                "itl": describe([g for t in good for g in t["gaps"]]),
                "output_sequence_length": describe([t["output"] for t in good]),
            },
            "output_throughput_tok_s": sum(r["tokens"] for r in runs) / seconds,
            "request_throughput_req_s": sum(r["requests"] for r in runs) / seconds,
            "goodput_req_s": sum(r["good"] for r in runs) / seconds,
            "limit_fraction": statistics.median(r["fraction"] for r in runs),
            "decode_floor_ms": statistics.median(r["floor"] for r in runs),
            "power_mean_w": sum(r["joules"] for r in runs) / seconds,
            "energy_per_output_token_j":
                sum(r["joules"] for r in runs) / sum(r["tokens"] for r in runs),
            "runs_with_moved_canary": sum(r["moved"] for r in runs),
            "runs_with_length_off": sum(r["off"] for r in runs),
        }
    slow, fast = per_subject["slow"], per_subject["fast"]
    for name, field in (("time_to_first_token", "ttft"), ("inter_token_latency", "tpot"),
                        ("request_latency", "e2e")):
        expected["comparisons"][name] = ratio([r[field] for r in fast], [r[field] for r in slow])
    rates = [[r["tokens"] / r["seconds"] for r in runs] for runs in (fast, slow)]
    expected["comparisons"]["output_throughput_tok_s"] = ratio(*rates)
    return expected


def main():
    FOLDER.mkdir(exist_ok=True)
    records, truths, canaries = make_run()
    with open(FOLDER / "records.jsonl", "w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
    expected = expect(records, truths, canaries)
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
