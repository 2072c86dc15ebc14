"""Reads a profile_export.jsonl as AIPerf's own loader does, and prints what it found as JSON.

    PYTHONPATH=.cache/aiperf-reader .venv/bin/python tests/report/read_aiperf.py FILE
"""

import json
import sys

from aiperf.common.models.record_models import MetricRecordInfo

found = []
with open(sys.argv[1]) as stream:
    for line in stream:
        record = MetricRecordInfo.model_validate_json(line)  # as aiperf.plot.core.data_loader
        found.append({
            "session_num": record.metadata.session_num,
            "phase": str(record.metadata.benchmark_phase),
            "start_ns": record.metadata.request_start_ns,
            "end_ns": record.metadata.request_end_ns,
            "error": record.error.message if record.error else None,
            "metrics": {name: [metric.value, metric.unit] for name, metric in record.metrics.items()},
        })
print(json.dumps(found))
