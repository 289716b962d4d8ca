"""Writes one Parquet file with pinned settings: equal rows give equal bytes, anywhere, on any day."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from pipeline import files
from schemas.manifest import Shard

ROW_GROUP_ROWS = 1024  # of tables with pictures
BUFFER = 1 << 20  # bytes; Parquet writes many small pieces
LIST_ROW_GROUP_ROWS = 65_536  # of all others


class _Digesting:
    """A binary file that hashes and counts what goes through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes | memoryview) -> int:
        self.digest.update(data)
        self.size += len(data)
        self.file.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return False


def write_shard(folder: str, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> Shard | None:
    """Write tables, in order, as one file `folder/name` that appears whole or not at all.

    Row groups have 1,024 rows, or 65,536 where there are no pictures, however the tables were cut. Encoded pictures are stored plain, for they do
    not compress, the rest is dictionary-coded and zstd-compressed. Returns None, and writes nothing, for no rows.
    """
    row_group = ROW_GROUP_ROWS if "image" in schema.names else LIST_ROW_GROUP_ROWS
    groups = _regroup(tables, row_group)
    first = next(groups, None)
    if first is None:
        return None
    rows = 0
    with files.replace(files.join(folder, name)) as file:
        sink = _Digesting(file)
        paths = _leaf_paths(schema)
        coded = [path for path in paths if path != "image.bytes"]
        with (
            pa.BufferedOutputStream(pa.PythonFile(sink, mode="w"), BUFFER) as stream,
            parquet.ParquetWriter(
                stream,
                schema,
                version="2.6",
                compression={path: "zstd" if path in coded else "none" for path in paths},
                use_dictionary=coded,
                write_statistics=coded,  # the least of all pictures tells nothing
                write_page_index=True,
            ) as writer,
        ):
            for group in chain([first], groups):
                writer.write_table(group, row_group_size=row_group)
                rows += group.num_rows
    return Shard(name, rows, sink.size, sink.digest.hexdigest())


def _leaf_paths(schema: pa.Schema) -> list[str]:
    paths = []
    for field in schema:
        if pa.types.is_struct(field.type):
            paths += [f"{field.name}.{child.name}" for child in field.type]
        elif pa.types.is_list(field.type):
            paths.append(f"{field.name}.list.element")
        else:
            paths.append(field.name)
    return paths


def _regroup(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut a stream of tables anew into tables of exactly `rows` rows (the last may have fewer)."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        while table.num_rows:
            taken = table.slice(0, rows - count)
            table = table.slice(taken.num_rows)
            held.append(taken)
            count += taken.num_rows
            if count == rows:
                yield pa.concat_tables(held).combine_chunks()
                held, count = [], 0
    if count:
        yield pa.concat_tables(held).combine_chunks()
