"""Read the tables that users bring (CSV, JSON lines, Parquet) as batches of strings, with the location of each row.

The same table gives the same strings in all three formats (pipeline/values.py). Values are checked later, row by row,
and a bad value becomes a rejection. Only what makes the whole file unreadable, such as a missing column or another
encoding, is an error here.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common import parquet_rows
from common.errors import DataError
from pipeline import files
from pipeline.delimited import Block, check_once, cut_csv_file, read_csv
from pipeline.file_parts import FilePart, cut_lines, cut_parquet
from pipeline.values import MISSING, filled_rows, normalize_column
from schemas.table import UNREADABLE, Table

BLOCK_ROWS = 65536


@dataclass(frozen=True)
class Records:
    """A batch of rows as they are in the file.

    rows: every column of the table and `location`, that of each row in the file, as strings; missing values are null.
    malformed: (location, reason) of lines that are not rows.
    skipped: (location, reason) of answers that a labeling tool has marked as not given.
    Blank lines are in none of them.
    """

    rows: pa.Table
    malformed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_records(
    path: str, table: Table, name: str | None = None, part: FilePart | None = None
) -> Iterator[Records]:
    """Read a .csv, .jsonl or .parquet file, or one part of it (`cut_file`), as batches.

    `name` is the file name in the locations of rows; default: the last component of the path. Raises DataError
    if the file is missing, lacks a column of `table`, has no rows, or is not text. Whether there are rows, and which
    columns JSON lines have, is checked only when the whole file is read: call `check_readable` before reading parts.
    """
    name = name or path.replace("\\", "/").rsplit("/", 1)[-1]
    for batch, lines, problems in _read_blocks(path, table, part):
        malformed = [(f"{name}:{line}", text) for line, text in problems]
        yield Records(_as_strings(batch, table, [f"{name}:{line}" for line in lines.tolist()]), malformed)


def cut_file(path: str, table: Table) -> list[FilePart]:
    """Cut a file into parts that can be read separately; a small file is one part. Raises DataError."""
    ending = _ending(path)
    if ending == "csv":
        return cut_csv_file(path, table)
    with files.open_read(path) as file:
        return cut_lines(file) if ending == "jsonl" else cut_parquet(file)


def check_readable(path: str, table: Table) -> None:
    """Read a file as far as its first row, so that an unreadable file is reported before a job starts. Raises DataError."""
    columns_of(path, table)


def columns_of(path: str, table: Table) -> list[str]:
    """Return the columns of the first block of a file that has rows, or of its last block. Raises DataError."""
    names: list[str] = []
    for rows, _, _ in _read_blocks(path, table, None):
        names = rows.schema.names
        if rows.num_rows:
            break
    return names


def _ending(path: str) -> str:
    ending = path.rsplit(".", 1)[-1].lower()
    if ending not in ("csv", "jsonl", "parquet"):
        raise DataError(f"{path}: unknown file format; give a .csv, .jsonl or .parquet file")
    return ending


def _read_blocks(path: str, table: Table, part: FilePart | None) -> Iterator[Block]:
    readers = {"csv": read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
    return readers[_ending(path)](path, table, part)


def file_and_line(locations: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Split locations, so that rows can be sorted: names of files (n,), int64 lines (n,)."""
    parts = pc.split_pattern(locations, ":", max_splits=1, reverse=True)
    lines = pc.list_element(parts, 1).cast(pa.int64())
    return pc.list_element(parts, 0).to_numpy(), lines.to_numpy()


def _as_strings(batch: pa.RecordBatch, table: Table, locations: list[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for field_ in table.schema:
        if field_.name in batch.schema.names:
            columns[field_.name] = normalize_column(field_.name, batch.column(field_.name))
        else:
            columns[field_.name] = pa.nulls(batch.num_rows, pa.string())
    columns["location"] = pa.array(locations, pa.string())
    return pa.table(columns)


def _read_jsonl(path: str, table: Table, part: FilePart | None) -> Iterator[Block]:
    # Line by line: Arrow's reader guesses types (an id such as 2020-01-01 becomes a time), and gives up the whole file
    # for one bad line.
    has_rows, names = False, None
    with files.open_read(path) as file:
        numbered = enumerate(_lines(file, part), part.first_line if part else 1)
        while block := list(islice(numbered, BLOCK_ROWS)):
            rows, lines, malformed = [], [], []
            for number, data in block:
                try:
                    text = data.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(f"{path}, line {number}: {error}; save the file as UTF-8 text") from error
                if not text.strip():
                    continue
                try:
                    if row := _json_row(text):
                        rows.append(row)
                        lines.append(number)
                except (ValueError, RecursionError) as error:
                    malformed.append((number, str(error) or type(error).__name__))
            has_rows |= bool(rows or malformed)
            if names is None and rows and not part:
                names = list(dict.fromkeys(name for row in rows for name in row))
                table.check_columns(names, path)
            schema = pa.schema([(name, pa.string()) for name in table.schema.names])
            yield pa.RecordBatch.from_pylist(rows, schema), np.array(lines, np.int64), malformed
        if not (has_rows or part):
            raise DataError(f"{path}: the file has no rows; write one JSON object per line")


def _lines(file: IO[bytes], part: FilePart | None) -> Iterator[bytes]:
    """Yield the lines of a file, or those of a part of it."""
    if not part:
        yield from file
        return
    file.seek(part.start)
    left = part.end - part.start
    while left > 0 and (line := file.readline()):
        left -= len(line)
        yield line


def _json_row(text: str) -> dict[str, str | None]:
    """Return the values of one line as strings, {} if all are missing. Raises ValueError unless it is a flat object."""
    row = json.loads(text)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    values = {name: _json_value(name, value) for name, value in row.items()}
    return values if any(value and value.strip() not in MISSING for value in values.values()) else {}


def _json_value(name: str, value: object) -> str | None:
    if value is None or value != value:  # NaN, which Python's json writes and reads
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        text = str(value)
        text.encode()  # an unpaired surrogate raises UnicodeEncodeError, a ValueError
        return text
    raise ValueError(f"the value of {name!r} is neither text nor a number")


def _read_parquet(path: str, table: Table, part: FilePart | None) -> Iterator[Block]:
    has_rows, first = False, part.first_line if part else 1
    with files.open_read(path) as file:
        try:
            rows = parquet.ParquetFile(file)
            names = rows.schema_arrow.names
            table.check_columns(names, path)
            check_once(names, path)
            used = [name for name in table.schema.names if name in names]
            # The index that pandas writes is not a value of a row.
            unused = {name for name in names if not name.startswith("__index_level_")} - set(used)
            groups = range(part.start, part.end) if part else range(rows.num_row_groups)
            for batch in parquet_rows.batches(file, used, groups, BLOCK_ROWS):
                texts = [_column_as_text(column) for column in batch.columns]
                lines = np.arange(first, first + batch.num_rows)
                first += batch.num_rows
                filled = filled_rows(texts, batch.num_rows)
                filled |= bool(unused)
                has_rows |= bool(filled.any())
                batch = pa.RecordBatch.from_arrays(texts, used)
                batch.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
                yield batch.filter(pa.array(filled)), lines[filled], []
        except UNREADABLE as error:
            raise DataError(
                f"{path}: cannot be read ({error}); write it again as Parquet with columns of text or numbers"
            ) from error
    if not (has_rows or part):
        raise DataError(f"{path}: the file has no rows; add rows, or remove the file from the configuration")


def _column_as_text(column: pa.Array) -> pa.Array:
    """Return a column of any plain type as text, NaN as null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(pa.string())
