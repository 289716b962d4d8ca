"""The tables of a study: one row per cell, and one per run and epoch. Two Parquet files, which are read without torch."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.atomic_file import replacing
from common.errors import DataError
from schemas.table import Table, column
from training.study.shard import ShardOfRuns

if TYPE_CHECKING:
    from training.study.grid import Cell

_COUNTS, _SUMS = pa.list_(pa.int64()), pa.list_(pa.float64())


def _number(name: str, about: str) -> pa.Field:
    return column(name, pa.float64(), about, required=False)


def _count(name: str, about: str) -> pa.Field:
    return column(name, pa.int64(), about, required=False)


def _text(name: str, about: str) -> pa.Field:
    return column(name, pa.string(), about, required=False)


RESULT = Table(
    "result",
    pa.schema(
        [
            column("color", pa.string(), "kind of noise"),
            column("noise_level", pa.float64(), "share of wrong labels"),
            column("method", pa.string(), "training method"),
            column("network", pa.string(), "that was trained"),
            column("setting", pa.string(), "scratch, fine-tuned, linear-probe, or as the study calls it"),
            column("seed", pa.int64(), "of all randomness in the run"),
            column("run", pa.string(), "folder; cells without noise share theirs among the colors"),
            column("status", pa.string(), "finished, failed or missing"),
            _text("error", "why it failed"),
            _number("final_accuracy", "test, after the last epoch"),
            _number("final_accuracy_raw", "the same without weight averaging"),
            _number("best_accuracy", "test, the best epoch's: the peak, which nobody could have chosen"),
            _count("best_epoch", "epochs done at the best"),
            _number("selected_accuracy", "test, of the epoch that is best on the held-out training images"),
            _count("selected_epoch", "epochs done then"),
            _number("train_accuracy", "at the end, against the given labels"),
            _number("clean_accuracy", "the same where the label is right"),
            _number("memorized", "share of wrong labels predicted at the end"),
            _number("recovered", "share of those whose true class is predicted"),
            _number("mentor_precision", "last epoch: share of the trusted labels (v ≥ 0.5) that are right"),
            _number("mentor_recall", "last epoch: share of the right labels that are trusted"),
            _number("data_utilization", "last epoch: mean v"),
            _number("distrusted", "share of the labels that the run distrusts (trust below 0.5)"),
            _number("distrust_precision", "share of the distrusted labels that are wrong"),
            _number("distrust_recall", "share of the wrong labels that are distrusted"),
            _number("distrust_auroc", "probability that a wrong label is trusted less than a right one"),
            _number("train_loss", "mean over the last epoch"),
            _number(
                "weight_decay", "strength; chosen on held-out labels where the configuration has candidates"
            ),
            _count("epochs", "trained"),
            _count("steps", "trained"),
            _number("seconds", "training and measuring"),
            _number("images_per_second", "training alone, median epoch"),
            _count("parameters", "of the network"),
            _number("imagenet_accuracy", "ImageNet top-1 that is published for the network"),
            _text("device", "cpu or cuda"),
            _text("cpu", "model"),
            _text("gpu", "model"),
            _count("cores", "of the machine"),
            _count("threads", "of them used"),
            _text("precision", "bf16 or fp32"),
            _text("version", "of this project"),
            _text("python", "version"),
            _text("torch", "version"),
        ]
    ),
    key=("color", "noise_level", "method", "network", "setting", "seed"),
)

CURVE = Table(
    "curve",
    pa.schema(
        [
            column("run", pa.string(), "as in the results"),
            column("epoch", pa.int64(), "epochs done"),
            column("step", pa.int64(), "steps done"),
            _number("seconds", "training and measuring so far"),
            _number("learning_rate", "of the last step"),
            _number("train_loss", "mean over the epoch"),
            _number("test_accuracy", "where it was measured; of averaged weights, if there are any"),
            _number("test_accuracy_raw", "without averaging"),
            _number("validation_accuracy", "on the held-out training images and their given labels"),
            _number("train_accuracy", "against the given labels, where it was measured"),
            _number("clean_accuracy", "the same where the label is right"),
            _number("memorized", "share of the wrong labels that are predicted"),
            _number("recovered", "share of those whose true class is predicted"),
            _number("trusted", "share of labels with v ≥ 0.5"),
            _number("data_utilization", "mean v"),
            _number("mentor_precision", "share of the trusted labels that are right"),
            _number("mentor_recall", "share of the right labels that are trusted"),
            _number("images_per_second", "training alone"),
            column(
                "loss_histogram",
                pa.struct({"bin": pa.float64(), "clean": _COUNTS, "noisy": _COUNTS}),
                "examples by loss, in bins of that width from 0; the last takes all beyond",
                required=False,
            ),
            column(
                "mentor_weights",
                pa.struct(
                    {"start": pa.float64(), "bin": pa.float64(), "clean": _COUNTS, "clean_sum": _SUMS,
                     "noisy": _COUNTS, "noisy_sum": _SUMS}
                ),
                "examples, and the sum of their v, by loss less its moving average; the outer bins take all beyond",
                required=False,
            ),
        ]
    ),
    key=("run", "epoch"),
)  # fmt: skip

FILES = {RESULT.name: "results", CURVE.name: "curves"}  # then -I-of-N for a shard, and .parquet
LAST_EPOCH = ("mentor_precision", "mentor_recall", "data_utilization")
STATUSES = ("finished", "failed", "missing")


def collect(cells: Iterable["Cell"], output: Path) -> tuple[pa.Table, pa.Table]:
    """Collect the measurements of the runs of all cells below `output`: results and curves, ordered by their keys."""
    from training import metrics  # loads torch, which reading the tables does not need
    from training.models.library import imagenet_accuracy
    from training.run_directory import read_result
    from training.study.run_state import read_failure, run_folder

    rows: list[dict[str, Any]] = []
    epochs: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        directory = run_folder(output, cell.run.name)
        result, failure = read_result(directory), read_failure(output, cell.run.name)
        if result and cell.run.name not in epochs:
            try:
                epoch_rows = metrics.read_rows(directory)
                if not epoch_rows:
                    raise DataError(
                        f"{directory / metrics.METRICS_FILE}: missing or empty; delete {directory} and run the study again"
                    )
                epochs[cell.run.name] = [{**row, "run": cell.run.name} for row in epoch_rows]
            except DataError as error:  # the other runs keep their rows
                result, failure = None, str(error)
        last_row = epochs[cell.run.name][-1] if result else {}
        key = {name: getattr(cell, name) for name in RESULT.key}
        row = {**{name: last_row.get(name) for name in LAST_EPOCH}, **(result or {}), **key}
        row |= {"run": cell.run.name, "imagenet_accuracy": imagenet_accuracy(cell.network)}
        row |= {"status": "finished" if result else "failed" if failure else "missing"}
        rows.append({**row, "error": None if result else failure})
    results, curves = RESULT.from_rows(rows), CURVE.from_rows(row for run in epochs.values() for row in run)
    return _sorted(results, RESULT), _sorted(curves, CURVE)


def write(tables: Iterable[pa.Table], output: Path, shard: ShardOfRuns | None = None) -> None:
    """Write results and curves, each in one rename: of all cells, or of those of a shard.

    The tables of all cells replace those that earlier commands have written for shards.
    """
    for table, name in zip(tables, FILES.values(), strict=True):
        with replacing(output / f"{name}{f'-{shard}' if shard else ''}.parquet") as temporary:
            pq.write_table(table, temporary)
        if shard is None:
            for outdated in output.glob(f"{name}-*-of-*.parquet"):
                outdated.unlink(missing_ok=True)


def read(*folders: Path, schema: Table = RESULT) -> pa.Table:
    """Read one of the two tables of a study, merged from all shards in all `folders`.

    Raises DataError if a folder has none, or if two files have different runs of one cell.
    """
    paths = [path for folder in folders for path in _files(folder, FILES[schema.name])]
    tables = [(path, _read_file(path, schema)) for path in paths]
    if len(tables) == 1:
        return tables[0][1]
    return _merge_results(tables) if schema is RESULT else _merge_curves(tables)


def merge_into(output: Path, folders: Sequence[Path], schema: Table = RESULT) -> pa.Table:
    """Read one of the two tables like `read`; if it comes from several files, or another folder, write it to `output`."""
    table, path = read(*folders, schema=schema), output / f"{FILES[schema.name]}.parquet"
    files = [file for folder in folders for file in _files(folder, FILES[schema.name])]
    if files != [path]:
        output.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
    return table


def _files(folder: Path, name: str) -> list[Path]:
    paths = [*folder.glob(f"{name}.parquet"), *sorted(folder.glob(f"{name}-*-of-*.parquet"))]
    if not paths:
        raise DataError(
            f"{folder / name}.parquet: no results; run the study first (python -m training study --output {folder})"
        )
    return paths


def _read_file(path: Path, schema: Table) -> pa.Table:
    try:
        return schema.conform(pq.read_table(path), str(path))
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: damaged ({str(error).partition(chr(10))[0]}); run the study again, which writes it again "
            f"(python -m training study --output {path.parent})"
        ) from error


def _merge_results(tables: Iterable[tuple[Path, pa.Table]]) -> pa.Table:
    """Merge rows by cell; a finished one counts before a failed one, and this before a missing one."""
    merged: dict[tuple[Any, ...], tuple[Path, dict[str, Any]]] = {}
    for path, table in tables:
        for row in table.to_pylist():
            key = tuple(row[name] for name in RESULT.key)
            earlier_path, earlier = merged.get(key, (path, row))
            if earlier["run"] != row["run"]:
                raise DataError(
                    f"{path}: the run of {', '.join(map(str, key))} is {row['run']}, but {earlier_path} has "
                    f"{earlier['run']}: they come from different configurations or sets; run the study again with the "
                    "present ones, or delete the outdated file"
                )
            if key not in merged or STATUSES.index(row["status"]) < STATUSES.index(earlier["status"]):
                merged[key] = path, row
    return _sorted(RESULT.from_rows(row for _, row in merged.values()), RESULT)


def _merge_curves(tables: Iterable[tuple[Path, pa.Table]]) -> pa.Table:
    rows = {(row["run"], row["epoch"]): row for _, table in tables for row in table.to_pylist()}
    return _sorted(CURVE.from_rows(rows.values()), CURVE)


def _sorted(table: pa.Table, schema: Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in schema.key])
