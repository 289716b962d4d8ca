"""The tables of a study: one row per cell, and one per run and epoch. Two Parquet files, which are read without torch."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common import parquet_rows
from common.atomic_file import replacing
from common.errors import DataError
from common.json_records import parse_json
from schemas.table import UNREADABLE, Table, column
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
            column("color", pa.string(), "color of noise, such as red, red-closed, blue or blue-instance"),
            column("noise_level", pa.float64(), "share of wrong labels"),
            column("method", pa.string(), "training method"),
            column("network", pa.string(), "name of the network"),
            column(
                "setting",
                pa.string(),
                "way to train: scratch, fine-tuned, linear-probe, or a name of the key `settings`",
            ),
            column("seed", pa.int64(), "seed of the run"),
            column(
                "run",
                pa.string(),
                "folder of the run in runs/; cells without noise share a run among the colors",
            ),
            column("status", pa.string(), "finished, failed or missing"),
            _text("error", "reason of the failure"),
            _number(
                "final_accuracy", "test accuracy after the last epoch, of averaged weights if there are any"
            ),
            _number("final_accuracy_raw", "test accuracy after the last epoch, without weight averaging"),
            _number(
                "best_accuracy", "test accuracy of the best epoch, which is not known without the test set"
            ),
            _count(
                "test_images", "number of test images, on which accuracies are measured; null in old results"
            ),
            _count("best_epoch", "the best epoch, counted from 1"),
            _number(
                "selected_accuracy", "test accuracy of the epoch that is best on the held-out training images"
            ),
            _count("selected_epoch", "that epoch, counted from 1"),
            _number(
                "train_accuracy",
                "accuracy on the training set after the last epoch, against the given labels",
            ),
            _number("clean_accuracy", "accuracy on the training set where the label is clean"),
            _number("memorized", "share of wrong labels that are predicted after the last epoch"),
            _number("recovered", "share of examples with a wrong label whose true class is predicted"),
            _number(
                "mentor_precision", "last epoch: share of the trusted labels (weight v ≥ 0.5) that are clean"
            ),
            _number("mentor_recall", "last epoch: share of the clean labels that are trusted"),
            _number("data_utilization", "last epoch: mean weight v"),
            _number("distrusted", "share of the labels with trust below 0.5 (table label_trust)"),
            _number("distrust_precision", "share of the distrusted labels that are wrong"),
            _number("distrust_recall", "share of the wrong labels that are distrusted"),
            _number("distrust_auroc", "probability that a wrong label has less trust than a clean one"),
            _number("train_loss", "mean training loss of the last epoch"),
            _number(
                "weight_decay", "weight decay; chosen on held-out labels if the configuration has candidates"
            ),
            _count("epochs", "number of epochs"),
            _count("steps", "number of steps"),
            _number("seconds", "seconds of training and evaluation"),
            _number(
                "predicted_seconds",
                "seconds of the run as predicted after its first steps; null in old results",
            ),
            _number("images_per_second", "images per second of training alone, median over the epochs"),
            _count("parameters", "number of parameters of the network"),
            _number("imagenet_accuracy", "published ImageNet top-1 accuracy of the network"),
            _text("device", "cpu or cuda"),
            _text("cpu", "model of the CPU"),
            _text("gpu", "model of the GPU"),
            _count("cores", "CPU cores of the machine"),
            _count("threads", "CPU threads of the run"),
            _text("precision", "bf16 or fp32"),
            _text("version", "version of this project"),
            _text("python", "version of Python"),
            _text("torch", "version of torch"),
        ]
    ),
    key=("color", "noise_level", "method", "network", "setting", "seed"),
)

CURVE = Table(
    "curve",
    pa.schema(
        [
            column("run", pa.string(), "folder of the run in runs/"),
            column("epoch", pa.int64(), "epoch, counted from 1"),
            column("step", pa.int64(), "steps at the end of the epoch"),
            _number("seconds", "seconds of training and evaluation so far"),
            _number("learning_rate", "learning rate of the last step"),
            _number("train_loss", "mean training loss of the epoch"),
            _number("test_accuracy", "test accuracy, of averaged weights if there are any; null if not evaluated"),
            _number("test_accuracy_raw", "test accuracy without weight averaging"),
            _number("validation_accuracy", "accuracy on the held-out training images, against their given labels"),
            _number("train_accuracy", "accuracy on the training set, against the given labels; null if not evaluated"),
            _number("clean_accuracy", "accuracy on the training set where the label is clean"),
            _number("memorized", "share of wrong labels that are predicted"),
            _number("recovered", "share of examples with a wrong label whose true class is predicted"),
            _number("clean_share", "estimated share of clean labels; null if it is not estimated"),
            _number("trusted", "share of labels with weight v ≥ 0.5"),
            _number("data_utilization", "mean weight v"),
            _number("mentor_precision", "share of the trusted labels that are clean"),
            _number("mentor_recall", "share of the clean labels that are trusted"),
            _number("images_per_second", "images per second of training alone"),
            column(
                "loss_histogram",
                pa.struct({"bin": pa.float64(), "clean": _COUNTS, "noisy": _COUNTS}),
                "counts of examples by loss, in bins of width `bin` from 0; the last bin has all larger losses",
                required=False,
            ),
            column(
                "mentor_weights",
                pa.struct(
                    {"start": pa.float64(), "bin": pa.float64(), "clean": _COUNTS, "clean_sum": _SUMS,
                     "noisy": _COUNTS, "noisy_sum": _SUMS}
                ),
                "counts of examples and sums of their weights v, by loss minus its moving average; the first and last bin also count all values outside the range",
                required=False,
            ),
        ]
    ),
    key=("run", "epoch"),
)  # fmt: skip

FILES = {RESULT.name: "results", CURVE.name: "curves"}  # then -I-of-N for a shard, and .parquet
LAST_EPOCH = ("mentor_precision", "mentor_recall", "data_utilization")
STATUSES = ("finished", "failed", "missing")
# Metadata of files: of merged results, the cells that each folder has trained, by its path relative to that of the file, as
# JSON; of others, when they were written, in nanoseconds since 1970, since copies of a folder may have other times.
TRAINED_IN, WRITTEN_AT = b"trained_in", b"written_at"


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
        known = {"test_images": cell.run.test_images, **{name: last_row.get(name) for name in LAST_EPOCH}}
        row = {**known, **{k: v for k, v in (result or {}).items() if v is not None}, **key}
        row |= {"run": cell.run.name, "imagenet_accuracy": imagenet_accuracy(cell.network)}
        row |= {"status": "finished" if result else "failed" if failure else "missing"}
        rows.append({**row, "error": None if result else failure})
    results, curves = RESULT.from_rows(rows), CURVE.from_rows(row for run in epochs.values() for row in run)
    return _sorted(results, RESULT), _sorted(curves, CURVE)


def write(tables: Iterable[pa.Table], output: Path, shard: ShardOfRuns | None = None) -> None:
    """Write results and curves, each in one rename: of all cells, or of those of a shard.

    The tables of all cells replace those that earlier commands have written for shards. Curves come first and go last, so
    that every table of results has some at any moment.
    """
    for table, name in reversed([*zip(tables, FILES.values(), strict=True)]):
        path = output / f"{name}{f'-{shard}' if shard else ''}.parquet"
        _write_file(table.replace_schema_metadata({WRITTEN_AT: str(time.time_ns())}), path)
    for name in FILES.values() if shard is None else ():
        for outdated in output.glob(f"{name}-*-of-*.parquet"):
            outdated.unlink(missing_ok=True)


def _write_file(table: pa.Table, path: Path) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def read(*folders: Path, schema: Table = RESULT) -> pa.Table:
    """Read one of the two tables of a study, merged from all files in all `folders`.

    A folder may have tables of shards, a table of all cells, and in its place one that `merge_into` has written. Every row
    counts as one of the folder that trained its run. Of the rows of one folder for one cell the newest counts: that of
    the newest table of a shard, else that of the table of all cells, else a copy in a merged table. So a run that is
    trained again replaces all copies, and copies from a folder that is not given are kept. Among folders, a finished
    row counts before a failed one, this before a missing one, and then that of the first folder. The curves of a run
    come from the file beside its row. Raises DataError if a folder has no results, or if two files have different runs
    of one cell.
    """
    rows = _current_rows(folders)
    return _results_of(rows) if schema is RESULT else _curves_of(rows)


def merge_into(output: Path, folders: Sequence[Path]) -> tuple[pa.Table, pa.Table]:
    """Read results and curves like `read`; if they come from several files, or another folder, write them to `output`."""
    rows = _current_rows(folders)
    results, curves = _results_of(rows), _curves_of(rows)
    path, curves_path = (output / f"{name}.parquet" for name in FILES.values())
    if any(stored.file != path for stored in rows):
        cells: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for stored in rows:
            cells[os.path.relpath(stored.trained_in, output.resolve())].append(stored.cell)
        output.mkdir(parents=True, exist_ok=True)
        _write_file(curves, curves_path)
        _write_file(results.replace_schema_metadata({TRAINED_IN: json.dumps(cells)}), path)
    return results, curves


@dataclass(frozen=True)
class _StoredRow:
    """A row of a result table, its file, and the folder that trained its run; `age` orders the files of one folder."""

    row: Mapping[str, Any]
    file: Path
    trained_in: Path
    age: tuple[int, int]

    @property
    def cell(self) -> tuple[Any, ...]:
        """The values of the key."""
        return tuple(self.row[name] for name in RESULT.key)


def _current_rows(folders: Sequence[Path]) -> list[_StoredRow]:
    """Return for each cell the row that counts, as `read` says; those of finished runs come first."""
    stored = sorted((row for folder in folders for row in _stored_rows(folder)), key=lambda row: row.age)
    _check_runs(stored)
    newest = {(row.trained_in, row.cell): row for row in stored}.values()
    order = {folder.resolve(): number for number, folder in reversed([*enumerate(folders)])}
    current: dict[tuple[Any, ...], _StoredRow] = {}
    for row in sorted(
        newest,
        key=lambda one: (STATUSES.index(one.row["status"]), order.get(one.trained_in, len(order))),
    ):
        current.setdefault(row.cell, row)
    return list(current.values())


def _stored_rows(folder: Path) -> Iterator[_StoredRow]:
    """Yield the rows of all result tables of a folder."""
    name = FILES[RESULT.name]
    paths = [*folder.glob(f"{name}.parquet"), *sorted(folder.glob(f"{name}-*-of-*.parquet"))]
    if not paths:
        raise DataError(
            f"{folder / name}.parquet: no results; run the study first (python -m training study --output {folder})"
        )
    for path in paths:
        table, (copies, written_at) = _read_file(path, RESULT), _read_metadata(path)
        kind = 0 if copies else 1 if path.stem == name else 2  # merged, of all cells, of a shard
        for row in table.to_pylist():
            stored = _StoredRow(row, path, folder.resolve(), (kind, written_at))
            yield replace(stored, trained_in=copies.get(stored.cell, stored.trained_in))


def _read_metadata(path: Path) -> tuple[dict[tuple[Any, ...], Path], int]:
    """Return the folder of each cell of a merged table ({} for other tables), and when the table was written."""
    metadata = pq.read_schema(path).metadata or {}
    try:
        cells = dict(parse_json(metadata.get(TRAINED_IN, b"{}").decode())).items()
        folders = {tuple(cell): (path.parent / folder).resolve() for folder, some in cells for cell in some}
        return folders, int(metadata.get(WRITTEN_AT, path.stat().st_mtime_ns))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it, and draw the study again") from error


def _check_runs(rows: Iterable[_StoredRow]) -> None:
    """Raise DataError if two rows of a cell have different runs."""
    first: dict[tuple[Any, ...], _StoredRow] = {}
    for stored in rows:
        other = first.setdefault(stored.cell, stored)
        if other.row["run"] != stored.row["run"]:
            raise DataError(
                f"{stored.file}: the run of {', '.join(map(str, stored.cell))} is {stored.row['run']}, but {other.file} has "
                f"{other.row['run']}: they come from different configurations or sets; run the study again with the present "
                "ones, or delete the outdated file"
            )


def _results_of(rows: Iterable[_StoredRow]) -> pa.Table:
    return _sorted(RESULT.from_rows(stored.row for stored in rows), RESULT)


def _curves_of(rows: Iterable[_StoredRow]) -> pa.Table:
    """Return the curves of the runs of rows, each from the file beside that of the row."""
    files: dict[str, Path] = {}
    for stored in rows:
        if stored.row["status"] == "finished":  # the others have no curves, and perhaps no file of them yet
            files.setdefault(stored.row["run"], stored.file)
    parts = [CURVE.schema.empty_table()]
    for file in dict.fromkeys(files.values()):
        path = file.with_name(file.name.replace(FILES[RESULT.name], FILES[CURVE.name], 1))
        table = _read_file(path, CURVE)
        names = [run for run, of_run in files.items() if of_run == file]
        parts.append(table.filter(pc.is_in(table["run"], pa.array(names))))
    return _sorted(pa.concat_tables(parts), CURVE)


def _read_file(path: Path, schema: Table) -> pa.Table:
    try:
        return schema.conform(parquet_rows.read_table(path), str(path))
    except UNREADABLE as error:
        problem = (
            "missing"
            if isinstance(error, FileNotFoundError)
            else f"damaged ({str(error).partition(chr(10))[0]})"
        )
        raise DataError(
            f"{path}: {problem}; run the study again, which writes it again (python -m training study --output {path.parent})"
        ) from error


def _sorted(table: pa.Table, schema: Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in schema.key])
