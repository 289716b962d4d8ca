"""CSV files as blocks of text: any usual delimiter, malformed lines told apart, blank lines skipped, lines counted."""

import codecs
import csv as text_csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv

from common.errors import DataError
from pipeline import files
from pipeline.values import filled_rows
from schemas.cells import ESCAPED
from schemas.table import Table

BLOCK_BYTES = 8 << 20
_SEPARATOR = re.compile(rb'^(?:\xef\xbb\xbf)?"?sep=([,;\t|])"?\r?\n$', re.IGNORECASE)
DELIMITERS = (",", ";", "\t", "|")

Numbered = list[tuple[int, str]]  # (line, what is wrong with it)
Block = tuple[pa.RecordBatch, np.ndarray, Numbered]  # rows, the line of each, malformed lines


def read_csv(path: str, table: Table) -> Iterator[Block]:
    """Read a CSV file block by block, all values as text; cells escaped for spreadsheets are unescaped.

    The delimiter is the one with which the header has the required columns of `table`. Raises DataError.
    """
    malformed: list[csv.InvalidRow] = []

    def keep_malformed(row: csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    with files.open_read(path) as file:
        first, line = _first_line(file, 2)
        if named := _SEPARATOR.match(first):  # a line of Excel's own, before the header
            first, line = _first_line(file, line + 1)
        names, delimiter = _header(first, named[1].decode() if named else None, table, path)
        seen, rows = False, 0  # rows before the block, malformed ones among them; `line` is its first line
        try:
            for batch in _batches(file, path, line, names, delimiter, keep_malformed):
                lines, told, taken, height = _lines(batch, malformed, rows, line, delimiter)
                filled = filled_rows(batch.columns, batch.num_rows)
                seen |= bool(told or filled.any())
                yield _unescaped(batch.filter(pa.array(filled))), lines[filled], told
                rows, line = rows + batch.num_rows + taken, line + height
                del malformed[:taken]
        except pa.ArrowInvalid as error:
            hint = "look for a quote that is never closed"
            raise DataError(f"{path}: cannot be read ({error}); {hint}") from error
        if malformed:  # behind the last good row
            empty = pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in names]))
            lines, told, *_ = _lines(empty, malformed, rows, line, delimiter, at_end=True)
            seen |= bool(told)
            yield empty, lines, told
    if not seen:
        raise DataError(f"{path}: the file has a header line but no rows")


def delimiter_of(line: str, required: Sequence[str]) -> str:
    """Return the delimiter with which a header line has the required columns, or else a comma."""
    for delimiter in DELIMITERS:
        if set(required) <= set(split_header(line, delimiter)):
            return delimiter
    return ","


def split_header(line: str, delimiter: str) -> list[str]:
    """Return the names in a header line, none where it cannot be read."""
    try:
        return [
            name.strip()
            for name in next(text_csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        ]
    except text_csv.Error:
        return []


def check_once(names: list[str], path: str) -> None:
    """Raise DataError if two columns have the same name."""
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{path}: there are two columns {name!r}; rename one of them")


class _Utf8:
    """A file that is checked to be UTF-8 while it is read: Arrow overlooks other bytes in malformed lines."""

    def __init__(self, file: IO[bytes], path: str, line: int) -> None:
        self.file, self.path, self.line = file, path, line
        self.decoder = codecs.getincrementaldecoder("utf-8")()
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


def _first_line(file: IO[bytes], line: int) -> tuple[bytes, int]:
    """The first line that is not blank, and the number of the one below it; `line` is that of the second line read."""
    while (first := file.readline()) and not first.strip():
        line += 1
    return first, line


def _header(line: bytes, told: str | None, table: Table, path: str) -> tuple[list[str], str]:
    """The names of the columns, and the delimiter unless it was `told`. Raises DataError."""
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        delimiter = told or delimiter_of(text, table.required)
        names = [
            name.strip()
            for name in next(text_csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
        ]
    except (UnicodeDecodeError, text_csv.Error) as error:
        raise DataError(
            f"{path}: the header cannot be read ({error}); save it as UTF-8 text with line ends of Linux or Windows"
        ) from error
    if not names:
        raise DataError(f"{path}: the file is empty, or its first line is; it needs a header line and rows")
    check_once(names, path)
    table.check_columns(names, path)
    return names, delimiter


def _batches(
    file: IO[bytes],
    path: str,
    line: int,
    names: list[str],
    delimiter: str,
    on_malformed: Callable[[csv.InvalidRow], str],
) -> Iterator[pa.RecordBatch]:
    """The rows below the header, as Arrow reads them."""
    start = file.tell()
    if not file.read(1):
        return iter(())
    file.seek(start)
    reader: Iterator[pa.RecordBatch] = csv.open_csv(
        _Utf8(file, path, line),
        read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=BLOCK_BYTES),
        parse_options=csv.ParseOptions(
            delimiter=delimiter,
            ignore_empty_lines=False,
            newlines_in_values=True,
            invalid_row_handler=on_malformed,
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    return reader


def _unescaped(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for column in batch.columns:
        if pc.any(pc.starts_with(column, "'")).as_py():
            escaped = pc.match_substring_regex(column, ESCAPED)
            column = pc.if_else(escaped, pc.utf8_slice_codeunits(column, 1), column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _lines(
    batch: pa.RecordBatch,
    malformed: list[csv.InvalidRow],
    rows: int,
    line: int,
    delimiter: str,
    at_end: bool = False,
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
        if not row.text.strip(f'{delimiter}" \t\r\n'):
            continue  # blank
        text = f"{row.actual_columns} fields instead of {row.expected_columns}"
        if lines > 1:
            text += f" in lines {first} to {first + lines - 1}; is a quote left open?"
        # Each line counts: an open quote may have swallowed many rows.
        told += [(first + offset, text) for offset in range(lines)]
    return begins[good], told, taken, int(height.sum())
