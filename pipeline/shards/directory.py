"""A directory of shards: opened by removing its manifest, committed by writing it last, read through it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pipeline import files
from schemas.errors import DataError
from schemas.manifest import MANIFEST, Manifest, Shard
from schemas.table import Table


def shard_name(prefix: str, index: int, count: int) -> str:
    """The name of shard `index` of `count`, as Hugging Face names them."""
    return f"{prefix}-{index:05d}-of-{count:05d}.parquet"


def open_for_writing(folder: str) -> None:
    """Empty a directory that is to be written: its manifest goes first, and without one nobody reads it."""
    take_out_of_use(folder)
    files.remove_folder(folder)
    files.make_folder(folder)


def take_out_of_use(folder: str) -> None:
    """Remove the manifest of a directory whose other contents stay, and what a killed writer left behind."""
    files.remove(files.join(folder, MANIFEST))
    files.remove_temporaries(folder)


def commit(folder: str, table: str, shards: Sequence[Shard], about: Mapping[str, Any]) -> Manifest:
    """Write the manifest, which makes the shards a table.

    A worker that was killed in this run, its task since done by another, may have left a file half written.
    """
    files.remove_temporaries(folder)
    ordered = tuple(sorted(shards, key=lambda shard: shard.file))
    manifest = Manifest(table, sum(shard.rows for shard in ordered), ordered, dict(about))
    files.write_text(files.join(folder, MANIFEST), manifest.to_json())
    return manifest


def find_manifest(folder: str) -> Manifest | None:
    """The manifest of a directory, or None where there is none."""
    path = files.join(folder, MANIFEST)
    return Manifest.from_json(files.read_text(path), path) if files.exists(path) else None


def read_manifest(folder: str) -> Manifest:
    """The manifest of a directory. Raises DataError where it has not been committed."""
    manifest = find_manifest(folder)
    if manifest is None:
        raise DataError(
            f"{folder}: no {MANIFEST}, so nothing was finished here; run the stage that writes it"
        )
    return manifest


def read_shards(folder: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The shards of a committed directory, one after the other, in the order of `place`."""
    for shard in read_manifest(folder).shards:
        yield _read(files.join(folder, shard.file), columns)


def read_table(folder: str, kind: Table, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole committed directory as one table, without the pictures unless they are named in `columns`."""
    names = list(columns or [name for name in kind.schema.names if name != "image"])
    empty = pa.schema([kind.schema.field(name) for name in names]).empty_table()
    return pa.concat_tables([empty, *read_shards(folder, names)])


def bucket_shards(manifest: Manifest, index: int, count: int) -> list[Shard]:
    """The shards that make up bucket `index` of `count`, where `count` divides the directory's own count.

    Shards without rows were never written, so there may be fewer than expected, or none.
    """
    found = []
    for shard in manifest.shards:
        number, _, total = shard.file.removesuffix(".parquet").rsplit("-", 3)[1:]
        assert int(total) % count == 0
        if int(number) // (int(total) // count) == index:
            found.append(shard)
    return found


def read_bucket(
    folder: str,
    index: int,
    count: int,
    columns: Sequence[str] | None = None,
    manifest: Manifest | None = None,
) -> Iterator[pa.Table]:
    """The tables of one bucket of a committed directory, in the order of `place`.

    Who reads many buckets gives the `manifest`, so that it is not parsed for each.
    """
    for shard in bucket_shards(manifest or read_manifest(folder), index, count):
        yield _read(files.join(folder, shard.file), columns)


def read_whole_bucket(folder: str, index: int, count: int, schema: pa.Schema) -> pa.Table:
    """One bucket of a committed directory as one table of the columns of `schema`, in one piece."""
    found = read_bucket(folder, index, count, schema.names)
    return pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in found)]).combine_chunks()


def _read(path: str, columns: Sequence[str] | None) -> pa.Table:
    with _open(path) as file:
        try:
            return parquet.read_table(file, columns=list(columns) if columns else None)
        except pa.ArrowInvalid as error:
            seen = str(error).splitlines()[0]
            raise DataError(
                f"{path}: no table of this version ({seen}); run the stage that writes it again"
            ) from error


def _open(path: str) -> Any:
    """Open a shard for reading; a local one as a file of Arrow's own.

    Arrow's threads give a file of Python's back when they have read it. If the process ends at that moment, the thread
    that waits for the interpreter ends the process with an abort.
    """
    if "://" in path:
        return files.open_read(path)
    try:
        return pa.OSFile(path)
    except OSError:
        return files.open_read(path)  # which says what is wrong
