"""A study that trains in seconds: its command line, and its tables without timings."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from training.study import results
from training.study.grid import StudyConfig

QUICK: dict[str, Any] = {
    "epochs": 1, "batch_size": 32, "precision": "fp32", "network": {"name": "small_cnn", "width": 2},
}  # fmt: skip


def small_study(**changes: Any) -> StudyConfig:
    base: dict[str, Any] = {
        "levels": (0.0, 0.4),
        "colors": ("blue",),
        "methods": ("vanilla",),
        "seeds": (0, 1),
    }
    return StudyConfig(**{**base, "recipe": "tiny", "overrides": QUICK, **changes})


def arguments(dataset: Path, out: Path, *more: str) -> list[str]:
    """The words of a `study` command; `more` gives levels, colors, methods and seeds."""
    sets = [f"{key}={value}" for key, value in QUICK.items() if key != "network"]
    pairs = [*sets, "network.name=small_cnn", "network.width=2"]
    start = ["study", "--data", str(dataset), "--output", str(out), "--recipe", "tiny", "--json"]
    return [*start, *(word for pair in pairs for word in ("--set", pair)), *more]


def without_times(*studies: Path) -> list[pa.Table]:
    """Both tables of a study, without what another run of it would measure differently."""
    timed = {"seconds", "images_per_second", "predicted_seconds", "threads"}
    tables = [results.read(*studies, schema=schema) for schema in (results.RESULT, results.CURVE)]
    return [table.drop_columns(sorted(timed & set(table.column_names))) for table in tables]
