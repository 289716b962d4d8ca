"""Read CSV files as blocks of text, with the line of each row: any common delimiter, malformed rows reported apart."""

import codecs
import csv as text_csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv

from common.errors import DataError
from pipeline import files
from pipeline.file_parts import FilePart, cut_csv
from pipeline.values import filled_rows
from schemas.cells import ESCAPED
from schemas.table import Table

BLOCK_BYTES = 8 << 20
_SEPARATOR = re.compile(rb'^(?:\xef\xbb\xbf)?"?sep=([,;\t|])"?\r?\n$', re.IGNORECASE)
DELIMITERS = (",", ";", "\t", "|")

Problems = list[tuple[int, str]]  # (malformed line, what is wrong with it)
Block = tuple[pa.RecordBatch, np.ndarray, Problems]  # rows, the line of each, malformed lines


def read_csv(path: str, table: Table, part: FilePart | None = None) -> Iterator[Block]:
    """Read a CSV file, or a part of it, block by block: all values are text, cells escaped for spreadsheets unescaped.

    The delimiter is the one with which the header has the required columns of `table`. Raises DataError.
    """
    malformed: list[csv.InvalidRow] = []

    def keep_malformed(row: csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    with files.open_read(path) as file:
        names, delimiter, line = _read_header(file, path, table)
        if part and part.start:
            file.seek(part.start)
            line = part.first_line
        left = part.end - file.tell() if part else sys.maxsize
        has_rows, rows = (
            False,
            0,
        )  # rows: before the block, malformed ones included; line: the first of the block
        try:
            for batch in _batches(_Utf8(file, path, line, left), names, delimiter, keep_malformed):
                lines, problems, taken, height = _lines(batch, malformed, rows, line, delimiter)
                filled = filled_rows(batch.columns, batch.num_rows)
                has_rows |= bool(problems or filled.any())
                yield _unescaped(batch.filter(pa.array(filled))), lines[filled], problems
                rows, line = rows + batch.num_rows + taken, line + height
                del malformed[:taken]
        except pa.ArrowInvalid as error:
            hint = "look for a quote that is never closed"
            raise DataError(f"{path}: cannot be read ({error}); {hint}") from error
        if malformed:  # after the last good row
            empty = pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in names]))
            lines, problems, *_ = _lines(empty, malformed, rows, line, delimiter, at_end=True)
            has_rows |= bool(problems)
            yield empty, lines, problems
    if not (has_rows or part):
        raise DataError(
            f"{path}: the file has a header line but no rows; add rows, or remove the file from the configuration"
        )


def cut_csv_file(path: str, table: Table) -> list[FilePart]:
    """Cut a CSV file into parts for `read_csv`. Raises DataError where the header cannot be read."""
    with files.open_read(path) as file:
        _, delimiter, _ = _read_header(file, path, table)
        header_bytes = file.tell()
        file.seek(0)
        return cut_csv(file, header_bytes, delimiter)


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
    """The next `left` bytes of a file, checked to be UTF-8: Arrow does not check malformed rows.

    line: number of the first line.
    """

    def __init__(self, file: IO[bytes], path: str, line: int, left: int) -> None:
        self.file, self.path, self.line, self.left = file, path, line, left
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.closed = False

    def is_at_end(self) -> bool:
        """Return whether there is nothing left to read."""
        start = self.file.tell()
        is_at_end = not self.left or not self.file.read(1)
        self.file.seek(start)
        return is_at_end

    def read(self, size: int) -> bytes:
        data = self.file.read(min(size, self.left))
        self.left -= len(data)
        try:
            self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.line + error.object.count(b"\n", 0, error.start)
            found = f"byte 0x{error.object[error.start]:02X} is not UTF-8 ({error.reason})"
            raise DataError(f"{self.path}, line {line}: {found}; save the file as UTF-8 text") from error
        self.line += data.count(b"\n")
        return data

    def close(self) -> None:
        self.closed = True


def _read_header(file: IO[bytes], path: str, table: Table) -> tuple[list[str], str, int]:
    """Read a CSV file up to its first row; return (names of the columns, delimiter, line below the header)."""
    first, line = _first_line(file, 2)
    if named := _SEPARATOR.match(first):  # a line that Excel writes before the header
        first, line = _first_line(file, line + 1)
    names, delimiter = _header(first, named[1].decode() if named else None, table, path)
    return names, delimiter, line


def _first_line(file: IO[bytes], line: int) -> tuple[bytes, int]:
    """Return the first line that is not blank, and the number of the next line; `line` is that of the second line read."""
    while (first := file.readline()) and not first.strip():
        line += 1
    return first, line


def _header(line: bytes, delimiter: str | None, table: Table, path: str) -> tuple[list[str], str]:
    """Return the names of the columns and the delimiter, recognized unless given. Raises DataError."""
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        delimiter = delimiter or delimiter_of(text, table.required)
        names = [
            name.strip()
            for name in next(text_csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
        ]
    except (UnicodeDecodeError, text_csv.Error) as error:
        raise DataError(
            f"{path}: the header cannot be read ({error}); save the file as UTF-8 text with line ends of Linux or Windows"
        ) from error
    if not names:
        raise DataError(f"{path}: the file is empty; write a header line and rows")
    check_once(names, path)
    table.check_columns(names, path)
    return names, delimiter


def _batches(
    file: _Utf8, names: list[str], delimiter: str, on_malformed: Callable[[csv.InvalidRow], str]
) -> Iterator[pa.RecordBatch]:
    """Return the rows of a file whose header has been read, as Arrow reads them."""
    if file.is_at_end():
        return iter(())
    reader: Iterator[pa.RecordBatch] = csv.open_csv(
        file,
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
) -> tuple[np.ndarray, Problems, int, int]:
    """Return the line of each row of a batch, the malformed lines before and among them, and the sizes of both.

    `rows` rows come before the batch, which begins at `line`; `malformed` may reach beyond it, since Arrow reads
    ahead. The sizes are the malformed rows and the lines that belong to the batch. A value in quotes may contain line
    breaks, so a row may take several lines.
    """
    good_before = [row.number - rows - 1 - index for index, row in enumerate(malformed)]
    taken = sum(count < batch.num_rows or at_end for count in good_before)
    bad = np.array([row.number - rows - 1 for row in malformed[:taken]], np.int64)
    height = np.ones(batch.num_rows + taken, np.int64)  # lines of each row
    is_good = np.ones(len(height), bool)
    is_good[bad] = False
    height[bad] += np.array([row.text.count("\n") for row in malformed[:taken]], np.int64)
    for column in batch.columns:
        height[is_good] += pc.fill_null(pc.count_substring(column, "\n"), 0).to_numpy(zero_copy_only=False)
    first_lines = line + np.cumsum(height) - height
    problems = []
    for row, first, lines in zip(malformed, first_lines[bad].tolist(), height[bad].tolist(), strict=False):
        if not row.text.strip(f'{delimiter}" \t\r\n'):
            continue  # blank
        text = f"{row.actual_columns} fields instead of {row.expected_columns}"
        if lines > 1:
            text += f" in lines {first} to {first + lines - 1}; is a quote left open?"
        # One problem a line: an open quote may have swallowed many rows.
        problems += [(first + offset, text) for offset in range(lines)]
    return first_lines[is_good], problems, taken, int(height.sum())
