"""Records of a bench of many requests, grown from those of a small one: every measured request is
there again and again, later each time. For pages that must stay small and open fast."""

import json

TIMES = ("start_ns", "end_ns", "intended_start_ns")


def grow(lines, wanted):
    """`lines`: the small bench's records as texts. Returns at least `wanted` measured requests as texts,
    with all other records once."""
    records = [json.loads(line) for line in lines if line.strip()]
    measured = [r for r in records if r["record_type"] == "request" and r["metadata"]["phase"] == "measure"]
    first = min(r["metadata"]["intended_start_ns"] for r in measured)
    span = max(r["metadata"]["end_ns"] for r in measured) - first
    texts = [json.dumps(r) for r in records]
    for request in measured:
        times = {name: request["metadata"][name] for name in TIMES}
        for name in TIMES:
            request["metadata"][name] = f"<{name}>"
        template = json.dumps(request)
        for name in TIMES:
            template = template.replace(f'"<{name}>"', f"%({name})d")
        for copy in range(1, -(-wanted // len(measured))):
            texts.append(template % {name: t + copy * span for name, t in times.items()})
    return texts
