"""The JSON file with the metrics of a stage's last run."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline import files
from pipeline.layout import Layout


def write(output: str, stage: str, metrics: Mapping[str, Any]) -> None:
    """Write the metrics of a stage. They hold times, so nothing else may depend on them."""
    files.write_text(Layout(output).metrics(stage), json.dumps({"stage": stage, **metrics}, indent=2) + "\n")


def read(output: str, stage: str) -> dict[str, Any]:
    """Read the metrics of a stage's last run; empty if there are none."""
    path = Layout(output).metrics(stage)
    return dict(json.loads(files.read_text(path))) if files.exists(path) else {}
