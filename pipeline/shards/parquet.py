"""Write one Parquet file with pinned settings, so that equal rows give equal bytes on any machine.

A task may run more than once, at the same time even, and any of its attempts may be the one that counts. So each attempt
stages its shard under a name of its own; the commit of the table (commit.py) moves the shards of the attempts that count.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from pipeline import files
from schemas.manifest import Shard

ROW_GROUP_ROWS = 1024  # of tables with pictures
BUFFER = 1 << 20  # bytes; Parquet writes many small pieces
LIST_ROW_GROUP_ROWS = 65_536  # of all others
STAGED = "_staged"  # folder, within that of the table; readers of whole folders skip names that begin with _
DIGEST_DIGITS = 16  # of the SHA-256 of a shard, at the end of its name


@dataclass(frozen=True)
class StagedShard:
    """A shard that an attempt has written: what it will be in the table, and its file in the folder `STAGED`."""

    shard: Shard
    file: str

    def before_commit(self) -> Shard:
        """Return the shard as it can be read before the table is committed."""
        return replace(self.shard, file=f"{STAGED}/{self.file}")


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


def write_shard(folder: str, stem: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> StagedShard | None:
    """Stage one shard of the table in `folder`: the rows of `tables`, in order, as one Parquet file.

    The shard will be called `stem` and the first digits of its SHA-256, so shards of two generations of a table lie side
    by side, and a shard is recognized by its own content. Row groups have ROW_GROUP_ROWS rows, or LIST_ROW_GROUP_ROWS
    where there are no pictures, however the tables were cut. Encoded pictures are stored plain, because they do not
    compress; all other columns are dictionary-encoded and compressed with zstd. Returns None, and writes nothing, for
    no rows. Raises DataError where the file cannot be written.
    """
    row_group = ROW_GROUP_ROWS if "image" in schema.names else LIST_ROW_GROUP_ROWS
    groups = _regroup(tables, row_group)
    first = next(groups, None)
    if first is None:
        return None
    rows = 0
    staged = f"{secrets.token_hex(16)}.parquet"
    with files.replace(files.join(folder, STAGED, staged)) as file:
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
                write_statistics=coded,  # the minimum of encoded pictures is of no use
                write_page_index=True,
            ) as writer,
        ):
            for group in chain([first], groups):
                writer.write_table(group, row_group_size=row_group)
                rows += group.num_rows
    digest = sink.digest.hexdigest()
    name = f"{stem}-{digest[:DIGEST_DIGITS]}.parquet"
    return StagedShard(Shard(name, rows, sink.size, digest), staged)


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
