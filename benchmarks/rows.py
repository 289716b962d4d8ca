"""Record the results of a benchmark for docs/results/benchmarks.md."""

import json
import os
import platform
from pathlib import Path

ROWS = "BENCH_ROWS"  # names the file that the rows are added to


def record(what: str, unit: str, ours: float, peer: str, theirs: float, more_is_better: bool = True) -> None:
    """Add a row: what was measured in which unit, ours, who the peer is, and theirs, from the same run."""
    if path := os.environ.get(ROWS):
        ratio = ours / theirs if more_is_better else theirs / ours
        row = {"what": what, "unit": unit, "ours": ours, "peer": peer, "theirs": theirs, "ratio": ratio}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def processor() -> str:
    """The name of this machine's processor: ratios differ between kinds."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
