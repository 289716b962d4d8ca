"""The JSON file with the metrics of a stage's last run."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline import files
from pipeline.layout import Layout
from schemas.errors import DataError
from schemas.stored import parse_json


def write(output: str, stage: str, metrics: Mapping[str, Any]) -> None:
    """Write the metrics of a stage. They hold times, so nothing else may depend on them."""
    files.write_text(Layout(output).metrics(stage), json.dumps({"stage": stage, **metrics}, indent=2) + "\n")


def read(output: str, stage: str) -> dict[str, Any]:
    """Read the metrics of a stage's last run; empty if there are none. Raises DataError if the file is damaged."""
    path = Layout(output).metrics(stage)
    if not files.exists(path):
        return {}
    try:
        return dict(parse_json(files.read_text(path)))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: damaged ({error}); delete it: it holds nothing but times and counts of the last run"
        ) from error
