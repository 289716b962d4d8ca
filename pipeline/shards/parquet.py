"""Write one Parquet shard with pinned settings, so that equal rows give equal bytes on any machine.

A task may run more than once, even at the same time, and the result of any attempt may be used. So each attempt stages
its shard under a unique name, and the commit of the table (commit.py) moves the shards of the attempts that were used.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from schemas.manifest import Shard

ROW_GROUP_ROWS = 1024  # in tables with images
BUFFER = 1 << 20  # bytes, since Parquet writes many small pieces
# Of a shard: a bucket is read as one table, and offsets of binary values have 32 bits.
MAX_IMAGE_BYTES = (1 << 31) - 1
LIST_ROW_GROUP_ROWS = 65_536  # in tables without images
STAGED = "_staged"  # subfolder of the table; readers of folders skip names that begin with _
DIGEST_DIGITS = 16  # digits of the SHA-256 at the end of the name of a shard


@dataclass(frozen=True)
class StagedShard:
    """A shard before the commit of its table: its entry for the manifest, and its file in the folder `STAGED`."""

    shard: Shard
    file: str

    def before_commit(self) -> Shard:
        """Return the shard as it can be read before the table is committed."""
        return replace(self.shard, file=f"{STAGED}/{self.file}")


class _HashingFile:
    """Binary file object that hashes and counts the bytes written to it."""

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
    """Stage the rows of `tables`, in order, as one shard of the table in `folder`.

    The committed name is `stem` plus the first digits of the SHA-256, so shards of two generations of a table can be in
    one folder. Row groups have ROW_GROUP_ROWS rows (LIST_ROW_GROUP_ROWS without images), however the input is cut.
    Encoded images are stored uncompressed; other columns are dictionary-encoded and compressed with zstd. Returns None
    and writes nothing if there are no rows. Raises DataError if the file cannot be written, or if its images have more than
    MAX_IMAGE_BYTES.
    """
    if "image" in schema.names:
        tables = _checked_sizes(folder, tables)
    row_group = ROW_GROUP_ROWS if "image" in schema.names else LIST_ROW_GROUP_ROWS
    groups = _regroup(tables, row_group)
    first = next(groups, None)
    if first is None:
        return None
    rows = 0
    staged = f"{secrets.token_hex(16)}.parquet"
    with files.replace(files.join(folder, STAGED, staged)) as file:
        sink = _HashingFile(file)
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
                write_statistics=coded,  # no minimum and maximum of encoded images
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


def _checked_sizes(folder: str, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables. Raises DataError as soon as their images have more than MAX_IMAGE_BYTES."""
    size = rows = 0
    for table in tables:
        images = pc.struct_field(table["image"], "bytes")
        size, rows = size + (pc.sum(pc.binary_length(images)).as_py() or 0), rows + table.num_rows
        if size > MAX_IMAGE_BYTES:
            raise DataError(
                f"{folder}: {rows} images of a shard have {size / 1e9:.1f} GB, and at most {MAX_IMAGE_BYTES / 1e9:.1f} GB are "
                "supported; make the stored images smaller (ingest.resize, ingest.size, ingest.format)"
            )
        yield table


def _regroup(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the rows of `tables` as tables of exactly `rows` rows each; the last may have fewer."""
    pending: list[pa.Table] = []
    count = 0
    for table in tables:
        while table.num_rows:
            taken = table.slice(0, rows - count)
            table = table.slice(taken.num_rows)
            pending.append(taken)
            count += taken.num_rows
            if count == rows:
                yield pa.concat_tables(pending).combine_chunks()
                pending, count = [], 0
    if count:
        yield pa.concat_tables(pending).combine_chunks()
