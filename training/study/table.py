"""The result table of a study: one row per cell, one Parquet file."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import DataError
from schemas.table import Table, column

if TYPE_CHECKING:
    from training.study.grid import Cell

FILE = "results.parquet"

RESULT = Table(
    "result",
    pa.schema(
        [
            column("colour", pa.string(), "kind of noise"),
            column("noise_level", pa.float64(), "share of wrong labels"),
            column("method", pa.string(), "training method"),
            column("seed", pa.int64(), "of all randomness in the run"),
            column("run", pa.string(), "folder; rows without noise share theirs among the colours"),
            column("status", pa.string(), "finished, failed or missing"),
            column("error", pa.string(), "why it failed", required=False),
            column("final_accuracy", pa.float64(), "test, after the last epoch", required=False),
            column("final_accuracy_raw", pa.float64(), "the same without weight averaging", required=False),
            column("best_accuracy", pa.float64(), "test, the best epoch's", required=False),
            column("best_epoch", pa.int64(), "epochs done at the best", required=False),
            column("train_accuracy", pa.float64(), "at the end, against the given labels", required=False),
            column("clean_accuracy", pa.float64(), "the same where the label is right", required=False),
            column("memorised", pa.float64(), "share of wrong labels predicted at the end", required=False),
            column("recovered", pa.float64(), "share of those whose true class is predicted", required=False),
            column("train_loss", pa.float64(), "mean over the last epoch", required=False),
            column("epochs", pa.int64(), "trained", required=False),
            column("steps", pa.int64(), "trained", required=False),
            column("seconds", pa.float64(), "training and measuring", required=False),
            column("images_per_second", pa.float64(), "training alone, median epoch", required=False),
            column("parameters", pa.int64(), "of the network", required=False),
            column("device", pa.string(), "cpu or cuda", required=False),
            column("precision", pa.string(), "bf16 or fp32", required=False),
            column("threads", pa.int64(), "of the CPU", required=False),
            column("torch", pa.string(), "version", required=False),
        ]
    ),
    key=("colour", "noise_level", "method", "seed"),
)


def collect(cells: Iterable["Cell"], runs: Path) -> pa.Table:
    """Gather what the runs of all cells measured, ordered by the key."""
    from training.run_directory import read_result  # loads torch, which who only reads the table need not
    from training.study.runs import read_failure

    rows: list[dict[str, Any]] = []
    for cell in cells:
        result, failure = read_result(runs / cell.run.name), read_failure(runs / cell.run.name)
        status = "finished" if result else "failed" if failure else "missing"
        place = {
            "colour": cell.colour,
            "noise_level": cell.noise_level,
            "method": cell.method,
            "seed": cell.seed,
        }
        rows.append({**(result or {}), **place, "run": cell.run.name, "status": status, "error": failure})
    table = RESULT.from_rows({k: row[k] for k in RESULT.schema.names if k in row} for row in rows)
    return table.sort_by([(name, "ascending") for name in RESULT.key])


def write(table: pa.Table, output: Path) -> None:
    """Write the table in one rename."""
    temporary = output / f".{FILE}.{os.getpid()}"
    pq.write_table(table, temporary)
    os.replace(temporary, output / FILE)


def read(output: Path) -> pa.Table:
    """Read a study's table. Raises DataError if there is none."""
    path = output / FILE
    if not path.is_file():
        raise DataError(
            f"{path}: no results; run the study first (python -m training study --output {output})"
        )
    return RESULT.conform(pq.read_table(path), str(path))
