"""JSON file with the metrics of a stage's last run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from common.json_records import parse_stored
from pipeline import files
from pipeline.layout import Layout


@dataclass(frozen=True)
class StageMetrics:
    """Content of the file; `seconds` is None for a job that an earlier command submitted (`attached`)."""

    stage: str
    runner: str
    seconds: float | None = None
    attached: bool = False
    counters: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, Any] = field(default_factory=dict)


def write(output: str, stage: str, metrics: Mapping[str, Any]) -> None:
    """Write the metrics of a stage. They contain times, so no other output may depend on them."""
    files.write_text(Layout(output).metrics(stage), json.dumps({"stage": stage, **metrics}, indent=2) + "\n")


def read(output: str, stage: str) -> dict[str, Any]:
    """Return the metrics of a stage's last run, or {} if there are none. Raises DataError if the file is damaged."""
    path = Layout(output).metrics(stage)
    if not files.exists(path):
        return {}
    remedy = "delete the file: it contains only counts and times of the last run"
    return asdict(parse_stored(StageMetrics, files.read_text(path), path, remedy))
