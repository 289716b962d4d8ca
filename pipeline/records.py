"""Reads the tables that users bring: CSV, JSON lines or Parquet, as batches of strings with the location of each row.

The same table reads the same in all three formats (pipeline/values.py). Values are checked later, row by row, so that a bad one becomes a rejection; only what makes the whole
file unreadable (a missing column, another encoding) is an error here.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.delimited import Block, check_once, read_csv
from pipeline.values import MISSING, filled_rows, normalize_column
from schemas.table import Table

BLOCK_ROWS = 65536


@dataclass(frozen=True)
class Records:
    """A batch of rows as they stand in the file.

    `rows` has every column of the table and `row`, all strings; what stands for nothing is null. `malformed` holds
    (row, text) of lines that are no rows, `skipped` those of answers that a labeling tool has marked as not given: the
    location of each, and the reason. Blank lines are in none of them.
    """

    rows: pa.Table
    malformed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_records(path: str, table: Table, name: str | None = None) -> Iterator[Records]:
    """Read a file, by its ending .csv, .jsonl or .parquet, as batches.

    `name` is what the places of rows call the file: the last part of its path, unless it is given. Raises
    DataError that names the file where it is missing, lacks a column of `table`, or is not text.
    """
    name = name or path.replace("\\", "/").rsplit("/", 1)[-1]
    for batch, lines, malformed in _read_blocks(path, table):
        bad = [(f"{name}:{line}", text) for line, text in malformed]
        yield Records(_as_strings(batch, table, [f"{name}:{line}" for line in lines.tolist()]), bad)


def check_readable(path: str, table: Table) -> None:
    """Read the first block of a file, so that a wrong one is reported before a job starts. Raises DataError."""
    columns_of(path, table)


def columns_of(path: str, table: Table) -> list[str]:
    """Return the columns of the first block of a file, none where it has no rows. Raises DataError."""
    first = next(_read_blocks(path, table), None)
    return first[0].schema.names if first else []


def _read_blocks(path: str, table: Table) -> Iterator[Block]:
    kinds = {"csv": read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
    ending = path.rsplit(".", 1)[-1].lower()
    if ending not in kinds:
        raise DataError(f"{path}: lists are read from .csv, .jsonl or .parquet files")
    return kinds[ending](path, table)


def file_and_line(places: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Take the places of rows apart, so that rows can be put in order: names of files (n,), int64 lines (n,)."""
    parts = pc.split_pattern(places, ":", max_splits=1, reverse=True)
    lines = pc.list_element(parts, 1).cast(pa.int64())
    return pc.list_element(parts, 0).to_numpy(), lines.to_numpy()


def _as_strings(batch: pa.RecordBatch, table: Table, places: list[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for field_ in table.schema:
        if field_.name in batch.schema.names:
            columns[field_.name] = normalize_column(field_.name, batch.column(field_.name))
        else:
            columns[field_.name] = pa.nulls(batch.num_rows, pa.string())
    columns["location"] = pa.array(places, pa.string())
    return pa.table(columns)


def _read_jsonl(path: str, table: Table) -> Iterator[Block]:
    # Line by line: Arrow's reader guesses types (an id such as 2020-01-01 becomes a time), and gives up the whole file
    # for one bad line.
    seen, names = False, None
    with files.open_read(path) as file:
        numbered = enumerate(file, 1)
        while block := list(islice(numbered, BLOCK_ROWS)):
            rows, lines, malformed = [], [], []
            for number, data in block:
                try:
                    text = data.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(f"{path}, line {number}: {error}; save it as UTF-8 text") from error
                if not text.strip():
                    continue
                try:
                    if row := _json_row(text):
                        rows.append(row)
                        lines.append(number)
                except (ValueError, RecursionError) as error:
                    malformed.append((number, str(error) or type(error).__name__))
            seen |= bool(rows or malformed)
            if names is None and rows:
                names = list(dict.fromkeys(name for row in rows for name in row))
                table.check_columns(names, path)
            schema = pa.schema([(name, pa.string()) for name in table.schema.names])
            yield pa.RecordBatch.from_pylist(rows, schema), np.array(lines, np.int64), malformed
        if not seen:
            raise DataError(f"{path}: the file has no rows; it needs one JSON object a line")


def _json_row(text: str) -> dict[str, str | None]:
    """The values of one line as strings, none if all are null. Raises ValueError if it is no object of plain values."""
    row = json.loads(text)
    if not isinstance(row, dict):
        raise ValueError("no JSON object")
    values = {name: _json_value(name, value) for name, value in row.items()}
    return values if any(value and value.strip() not in MISSING for value in values.values()) else {}


def _json_value(name: str, value: object) -> str | None:
    if value is None or value != value:  # NaN, which Python's json writes and reads
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        text = str(value)
        text.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
        return text
    raise ValueError(f"{name!r} is neither text nor a number")


def _read_parquet(path: str, table: Table) -> Iterator[Block]:
    first = 1
    with files.open_read(path) as file:
        try:
            rows = parquet.ParquetFile(file)
            names = rows.schema_arrow.names
            table.check_columns(names, path)
            check_once(names, path)
            wanted = [name for name in table.schema.names if name in names]
            # pandas' index is no value of a row
            unread = {name for name in names if not name.startswith("__index_level_")} - set(wanted)
            for batch in rows.iter_batches(batch_size=BLOCK_ROWS, columns=wanted):
                texts = [_column_as_text(column) for column in batch.columns]
                lines = np.arange(first, first + batch.num_rows)
                first += batch.num_rows
                filled = filled_rows(texts, batch.num_rows)
                filled |= bool(unread)
                batch = pa.RecordBatch.from_arrays(texts, wanted)
                yield batch.filter(pa.array(filled)), lines[filled], []
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path}: cannot be read ({error}); write it again as Parquet with columns of text or numbers"
            ) from error


def _column_as_text(column: pa.Array) -> pa.Array:
    """A column of any plain type as text; NaN is null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(pa.string())
