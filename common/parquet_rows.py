"""Read untrusted Parquet files in bounded memory.

A few hundred bytes of Parquet can expand to gigabytes: a dictionary, a shared prefix or a compressed page repeats one long
value in each row. Rows are therefore read in batches whose size depends on the longest value, and a table is held in memory
only if it is not much larger than its file.

The values of dictionaries are measured. Encodings and page sizes are taken from the footer of the file, which can be forged:
a forged page size makes pyarrow allocate that page, of at most 2 GiB.
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
"""Largest ratio of bytes in memory to bytes in the file, for more than BYTES_AT_ONCE; ids, scores and images are below 20."""
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED"}
_DICTIONARY = {*_PLAIN, "PLAIN_DICTIONARY", "RLE_DICTIONARY"}
# Buffer for the first row of a row group. With it pyarrow reads whole pages, without it whole columns.
_PROBE_BYTES = 1 << 16
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}


def batches(
    file: Any,
    columns: Sequence[str] | None = None,
    groups: Iterable[int] | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    probe: "Probe | None" = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in batches of at most `rows_at_once` rows and about BYTES_AT_ONCE per column.

    file: whatever ParquetFile accepts. columns: names or paths (`image.bytes`); None: all. groups: row groups; None: all.
    probe: the Probe of the file, if the caller has one. Raises pa.ArrowInvalid if a column expands more than MAX_EXPANSION
    times, or if a row group has other rows than the footer states; and what pyarrow raises for damaged files.
    """
    reader = parquet.ParquetFile(file, metadata=probe.metadata if probe else None)
    probe = probe or Probe(file, reader)
    names = None if columns is None else list(columns)
    for group in range(reader.num_row_groups) if groups is None else groups:
        rows = max(1, min(rows_at_once, BYTES_AT_ONCE // max(1, probe.longest_value(group, names))))
        stated, read = reader.metadata.row_group(group).num_rows, 0
        for batch in reader.iter_batches(batch_size=rows, row_groups=[group], columns=names):
            read += batch.num_rows
            yield batch
        # pyarrow ends early, without an error, where the footer states a negative number of values.
        if read != stated:
            raise pa.ArrowInvalid(f"row group {group} has {read} rows, but the footer states {stated}")


def read_table(file: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a file, with top-level columns in the order of `columns`, without checking text (`Table.validate`).

    Raises pa.ArrowInvalid if a column is missing or occurs twice, or if the rows take more than BYTES_AT_ONCE and
    MAX_EXPANSION times their size in the file; and what pyarrow raises for damaged files.
    """
    schema = parquet.read_schema(file)
    names = schema.names if columns is None else list(columns)
    for name in names:
        if schema.names.count(name) != 1:
            state = "missing" if name not in schema.names else "there more than once"
            raise pa.ArrowInvalid(f"the column {name!r} is {state}")
    schema = pa.schema([schema.field(name) for name in names], schema.metadata)
    return pa.Table.from_batches(
        [part.select(names) for part in limit_expansion(batches(file, names), file)], schema
    )


def limit_expansion(parts: Iterable[pa.RecordBatch], file: Any) -> Iterator[pa.RecordBatch]:
    """Yield batches that the caller holds in memory together.

    Raises pa.ArrowInvalid if they take more than BYTES_AT_ONCE and MAX_EXPANSION times the size of `file`.
    """
    stored, taken = _file_bytes(file), 0
    for part in parts:
        taken += part.nbytes
        _check_expansion(taken, stored, "its rows")
        yield part


def _check_expansion(size: int, stored: int, what: str) -> None:
    if size > max(BYTES_AT_ONCE, MAX_EXPANSION * stored):
        raise pa.ArrowInvalid(f"{what} need {size:,} bytes or more in memory, but {stored:,} in the file")


class Probe:
    """Facts about the columns of a row group, from the footer, the first row and the dictionaries."""

    def __init__(self, file: Any, reader: parquet.ParquetFile) -> None:
        self.metadata = reader.metadata
        self._valid: set[tuple[int, str | None]] = set()
        self._columns = [reader.schema.column(index) for index in range(len(reader.schema))]
        texts = [field.name for field in reader.schema_arrow if _has_length(field.type)]
        self._rows, self._dictionaries = (
            parquet.ParquetFile(
                file, metadata=reader.metadata, read_dictionary=names, buffer_size=_PROBE_BYTES
            )
            for names in ([], texts)
        )

    def columns(self, group: int, names: Sequence[str] | None) -> list[parquet.ColumnChunkMetaData]:
        """Return the metadata of the columns `names` of a row group.

        One row is read first, so that a footer that contradicts itself is an error of pyarrow: for some of these faults,
        RowGroupMetaData.column ends the process.
        """
        # The first page can hold all images of the row group, so it is read only once.
        asked = {(group, name) for name in names} if names is not None else {(group, None)}
        if (group, None) not in self._valid and not asked <= self._valid:
            _first_row(self._rows, group, names)
            self._valid |= asked
        about = self._rows.metadata.row_group(group)
        paths = [column.path for column in self._columns]
        wanted = {*paths} if names is None else {*names}
        return [about.column(index) for index, path in enumerate(paths) if {path, _top(path)} & wanted]

    def longest_value(self, group: int, names: Sequence[str] | None) -> int:
        """Return an upper bound of the bytes of one value that several rows of a row group may share."""
        longest, coded = 0, []
        for column in self.columns(group, names):
            path, kind, encodings = column.path_in_schema, column.physical_type, {*column.encodings}
            nested = path != _top(path)
            size = max(column.total_compressed_size, column.total_uncompressed_size)
            if nested:
                # One row of a list may have any number of equal numbers.
                size = max(size, column.num_values * _WIDTHS.get(kind, 0))
            _check_expansion(size, column.total_compressed_size, f"the values of column {path!r}")
            if kind == "FIXED_LEN_BYTE_ARRAY":
                longest = max(longest, *(each.length for each in self._columns if each.path == path))
            elif kind == "BYTE_ARRAY" and not encodings <= (_PLAIN if nested else _DICTIONARY):
                longest = max(longest, size)
            elif kind == "BYTE_ARRAY" and not encodings <= _PLAIN:
                coded.append(path)
        return max(longest, self._longest_in_dictionaries(group, coded) if coded else 0)

    def _longest_in_dictionaries(self, group: int, names: Sequence[str]) -> int:
        """Return the length of the longest value in the dictionaries of columns of text or bytes."""
        rows = _first_row(self._dictionaries, group, names)
        columns = rows.columns if rows else []
        dictionaries = [column.dictionary for column in columns if pa.types.is_dictionary(column.type)]
        lengths = [pc.max(pc.binary_length(each)).as_py() for each in dictionaries if _has_length(each.type)]
        return max((length or 0 for length in lengths), default=0)


def _top(path: str) -> str:
    return path.partition(".")[0]


def _first_row(reader: parquet.ParquetFile, group: int, names: Sequence[str] | None) -> pa.RecordBatch | None:
    return next(reader.iter_batches(batch_size=1, row_groups=[group], columns=names), None)


def _has_length(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(is_kind(kind) for is_kind in kinds)


def _file_bytes(file: Any) -> int:
    if hasattr(file, "seek"):
        size: int = file.seek(0, os.SEEK_END)
        file.seek(0)
        return size
    return os.path.getsize(file)
