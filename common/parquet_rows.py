"""Read Parquet files of others in bounded memory.

A few hundred bytes of Parquet can stand for gigabytes: a dictionary, a shared prefix or a compressed page repeats one long
value in each row. Rows are therefore read in batches whose size depends on the longest value, and a table is held in memory
only if it is not much larger than its file.

Dictionaries are measured. The encodings and sizes of pages are those that the footer of a file states: a footer that denies
shared prefixes is believed, and one that denies the size of a page costs that page, of at most 2 GiB.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

ROWS_AT_ONCE = 65536
BYTES_AT_ONCE = 256 << 20
MAX_EXPANSION = 200
"""Bytes in memory per byte of a file of which more than BYTES_AT_ONCE are held; ids, scores and images have below 20."""
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED"}
_DICTIONARY = {*_PLAIN, "PLAIN_DICTIONARY", "RLE_DICTIONARY"}
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}


def batches(
    file: Any,
    columns: Sequence[str] | None = None,
    groups: Iterable[int] | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in batches of at most `rows_at_once` rows and about BYTES_AT_ONCE per column.

    file: whatever ParquetFile accepts. columns: names or paths (`image.bytes`); None: all. groups: row groups; None: all.
    Raises pa.ArrowInvalid if a column expands more than MAX_EXPANSION times, and what pyarrow raises for damaged files.
    """
    reader = parquet.ParquetFile(file)
    names = None if columns is None else list(columns)
    for group in range(reader.num_row_groups) if groups is None else groups:
        longest = _longest_value(file, reader, group, names)
        rows = max(1, min(rows_at_once, BYTES_AT_ONCE // max(1, longest)))
        yield from reader.iter_batches(batch_size=rows, row_groups=[group], columns=names)


def read_table(file: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a file, with top-level columns in the order of `columns`, without checking text (`Table.validate`).

    Raises pa.ArrowInvalid if a column is missing or occurs twice, or if the rows take more than BYTES_AT_ONCE and
    MAX_EXPANSION times their size in the file; and what pyarrow raises for damaged files.
    """
    schema = parquet.ParquetFile(file).schema_arrow
    names = schema.names if columns is None else list(columns)
    for name in names:
        if schema.names.count(name) != 1:
            state = "missing" if name not in schema.names else "there more than once"
            raise pa.ArrowInvalid(f"the column {name!r} is {state}")
    schema = pa.schema([schema.field(name) for name in names], schema.metadata)
    return pa.Table.from_batches([part.select(names) for part in limited(batches(file, names), file)], schema)


def limited(parts: Iterable[pa.RecordBatch], file: Any) -> Iterator[pa.RecordBatch]:
    """Yield batches that are held together in memory. Raises pa.ArrowInvalid if they take too much for the size of `file`."""
    stored, taken = _file_bytes(file), 0
    for part in parts:
        taken += part.nbytes
        _check_expansion(taken, stored, "its rows")
        yield part


def _check_expansion(size: int, stored: int, what: str) -> None:
    if size > max(BYTES_AT_ONCE, MAX_EXPANSION * stored):
        raise pa.ArrowInvalid(f"{what} need {size:,} bytes or more in memory, but {stored:,} in the file")


def _longest_value(file: Any, reader: parquet.ParquetFile, group: int, names: Sequence[str] | None) -> int:
    """Return an upper bound of the bytes of one value that several rows of a row group may share."""
    check_footer(reader, group, names)
    longest, measured = 0, []
    about = reader.metadata.row_group(group)
    for index in range(about.num_columns):
        column = about.column(index)
        path, kind = column.path_in_schema, column.physical_type
        top = path.partition(".")[0]
        if names is not None and not {path, top} & {*names}:
            continue
        size = max(column.total_compressed_size, column.total_uncompressed_size)
        if path != top:
            # One row of a list may have any number of equal numbers.
            size = max(size, column.num_values * _WIDTHS.get(kind, 0))
        _check_expansion(size, column.total_compressed_size, f"the values of column {path!r}")
        if kind == "FIXED_LEN_BYTE_ARRAY":
            longest = max(longest, reader.schema.column(index).length)
        elif kind == "BYTE_ARRAY" and not {*column.encodings} <= (_DICTIONARY if path == top else _PLAIN):
            longest = max(longest, size)
        elif kind == "BYTE_ARRAY" and path == top:
            measured.append(path)
    return max(longest, _longest_in_dictionaries(file, group, measured) if measured else 0)


def check_footer(reader: parquet.ParquetFile, group: int, names: Sequence[str] | None) -> None:
    """Read one row of a row group: what the footer states wrongly about its columns is then an error of pyarrow.

    Call this before RowGroupMetaData.column, which ends the process for some of these faults.
    """
    next(reader.iter_batches(batch_size=1, row_groups=[group], columns=names), None)


def _longest_in_dictionaries(file: Any, group: int, names: list[str]) -> int:
    """Return the length of the longest value in the dictionaries of columns of text or bytes in a row group."""
    reader = parquet.ParquetFile(file, read_dictionary=names)
    first = next(reader.iter_batches(batch_size=1, row_groups=[group], columns=names), None)
    columns = first.columns if first else []
    dictionaries = [column.dictionary for column in columns if pa.types.is_dictionary(column.type)]
    lengths = [pc.max(pc.binary_length(each)).as_py() for each in dictionaries if _has_length(each.type)]
    return max((length or 0 for length in lengths), default=0)


def _has_length(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(is_kind(kind) for is_kind in kinds)


def _file_bytes(file: Any) -> int:
    if hasattr(file, "seek"):
        size: int = file.seek(0, os.SEEK_END)
        file.seek(0)
        return size
    return os.path.getsize(file)
