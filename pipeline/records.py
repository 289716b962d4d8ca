"""Reads the tables that users bring: CSV, JSON lines or Parquet, as batches of strings with the place of each row.

Values are checked later, row by row, so that a bad one becomes a rejection; only what makes the whole
file unreadable (a missing column, another encoding) is an error here.
"""

import codecs
import csv as text_csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv, parquet

from pipeline import files
from schemas.errors import DataError
from schemas.table import Table

BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 65536

Numbered = list[tuple[int, str]]  # (line, what is wrong with it)
Block = tuple[pa.RecordBatch, np.ndarray, Numbered]  # rows, the line of each, malformed lines


@dataclass(frozen=True)
class Records:
    """A batch of rows as they stand in the file.

    `rows` has every column of the table and `row`, all strings; an empty field is null. `malformed` holds
    (row, text) of lines that are no rows: where each stands, and why.
    """

    rows: pa.Table
    malformed: list[tuple[str, str]] = field(default_factory=list)


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
    kinds = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
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
            values = batch.column(field_.name).cast(pa.string())
            columns[field_.name] = pc.if_else(pc.equal(values, ""), None, values)
        else:
            columns[field_.name] = pa.nulls(batch.num_rows, pa.string())
    columns["row"] = pa.array(places, pa.string())
    return pa.table(columns)


def _read_csv(path: str, table: Table) -> Iterator[Block]:
    malformed: list[csv.InvalidRow] = []

    def keep_malformed(row: csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    with files.open_read(path) as file:
        names = _csv_header(file.readline(), path)
        table.check_columns(names, path)
        if not file.read(1):
            raise DataError(f"{path}: the file has a header line but no rows")
        file.seek(0)
        file.readline()
        try:
            reader = csv.open_csv(
                _Utf8(file, path),
                read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=BLOCK_BYTES),
                parse_options=csv.ParseOptions(
                    ignore_empty_lines=False, newlines_in_values=True, invalid_row_handler=keep_malformed
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
                ),
            )
            rows, line = 0, 2  # rows before the block, malformed ones among them, and its first line
            for batch in reader:
                lines, told, taken, height = _csv_lines(batch, malformed, rows, line)
                yield batch, lines, told
                rows, line = rows + batch.num_rows + taken, line + height
                del malformed[:taken]
        except pa.ArrowInvalid as error:
            hint = "look for a quote that is never closed"
            raise DataError(f"{path}: cannot be read ({error}); {hint}") from error
        if malformed:  # behind the last good row
            empty = pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in names]))
            yield empty, *_csv_lines(empty, malformed, rows, line, at_end=True)[:2]


class _Utf8:
    """A file that is checked to be UTF-8 while it is read: Arrow overlooks other bytes in malformed lines."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        self.file, self.path = file, path
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.line = 2
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        try:
            self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.line + error.object.count(b"\n", 0, error.start)
            raise DataError(f"{self.path}, line {line}: {error}; save it as UTF-8 text") from error
        self.line += data.count(b"\n")
        return data

    def close(self) -> None:
        self.closed = True


def _csv_header(line: bytes, path: str) -> list[str]:
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        names = [name.strip() for name in next(text_csv.reader([text], skipinitialspace=True), [])]
    except (UnicodeDecodeError, text_csv.Error) as error:
        raise DataError(
            f"{path}: the header cannot be read ({error}); save it as UTF-8 text with line ends of Linux or Windows"
        ) from error
    if not names:
        raise DataError(f"{path}: the file is empty, or its first line is; it needs a header line and rows")
    _check_once(names, path)
    return names


def _check_once(names: list[str], path: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{path}: there are two columns {name!r}; rename one of them")


def _csv_lines(
    batch: pa.RecordBatch, malformed: list[csv.InvalidRow], rows: int, line: int, at_end: bool = False
) -> tuple[np.ndarray, Numbered, int, int]:
    """Where the rows of a block begin, and the malformed lines before and among them.

    `rows` rows came before the block, which begins at `line`; `malformed` may be ahead of it, since Arrow reads
    ahead. Returns (line of each row of the batch, malformed lines, malformed rows and lines that the block took).
    A value in quotes may hold line breaks, so rows are not lines.
    """
    ahead = [row.number - rows - 1 - nth for nth, row in enumerate(malformed)]  # good rows before each
    taken = sum(count < batch.num_rows or at_end for count in ahead)
    at = np.array([row.number - rows - 1 for row in malformed[:taken]], np.int64)
    height = np.ones(batch.num_rows + taken, np.int64)  # lines that each row takes
    good = np.ones(len(height), bool)
    good[at] = False
    height[at] += np.array([row.text.count("\n") for row in malformed[:taken]], np.int64)
    for column in batch.columns:
        height[good] += pc.fill_null(pc.count_substring(column, "\n"), 0).to_numpy(zero_copy_only=False)
    begins = line + np.cumsum(height) - height
    told = []
    for row, first, lines in zip(malformed, begins[at].tolist(), height[at].tolist(), strict=False):
        text = f"{row.actual_columns} fields instead of {row.expected_columns}"
        if lines > 1:
            text += f" in lines {first} to {first + lines - 1}; is a quote left open?"
        # Each line counts: an open quote may have swallowed many rows.
        told += [(first + offset, text) for offset in range(lines)]
    return begins[good], told, taken, int(height.sum())


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
                    rows.append(_json_row(text))
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
    """The values of one line as strings. Raises ValueError if it is no JSON object of plain values."""
    row = json.loads(text)
    if not isinstance(row, dict):
        raise ValueError("no JSON object")
    return {name: _json_value(name, value) for name, value in row.items()}


def _json_value(name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, str | int):
        text = str(value)
        text.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
        return text
    raise ValueError(f"{name!r} is neither text nor a number")


def _read_parquet(path: str, table: Table) -> Iterator[Block]:
    first = 1
    with files.open_read(path) as file:
        try:
            rows = parquet.ParquetFile(file)
            table.check_columns(rows.schema_arrow.names, path)
            _check_once(rows.schema_arrow.names, path)
            wanted = [name for name in table.schema.names if name in rows.schema_arrow.names]
            for batch in rows.iter_batches(batch_size=BLOCK_ROWS, columns=wanted):
                batch = pa.RecordBatch.from_arrays([c.cast(pa.string()) for c in batch.columns], wanted)
                yield batch, np.arange(first, first + batch.num_rows), []
                first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path}: cannot be read ({error}); write it again as Parquet with columns of text or numbers"
            ) from error
