"""Read a table: a folder of Parquet shards and a manifest that names them. `commit.py` writes it."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.layout import stage_of
from schemas.manifest import MANIFEST, Manifest, Shard
from schemas.table import Table

_NUMBERED = re.compile(r"-(\d+)-of-(\d+)[.-]")
_MAGIC = b"PAR1"
_REMEDY = "it was changed or damaged after it was written; run the stage that writes it again with --force, or restore the file"


def shard_stem(prefix: str, index: int, count: int) -> str:
    """Return the name of shard `index` of `count` up to its digest, in the form that Hugging Face uses."""
    return f"{prefix}-{index:05d}-of-{count:05d}"


def find_manifest(folder: str) -> Manifest | None:
    """The manifest of a directory, or None where there is none."""
    path = files.join(folder, MANIFEST)
    return Manifest.from_json(files.read_text(path), path) if files.exists(path) else None


def valid_manifest(folder: str) -> Manifest | None:
    """Return the manifest of a folder; None where there is none, or where it is damaged and names nothing."""
    try:
        return find_manifest(folder)
    except DataError:
        return None


def read_manifest(folder: str) -> Manifest:
    """The manifest of a directory. Raises DataError where it has not been committed."""
    manifest = find_manifest(folder)
    if manifest is None:
        raise DataError(_absent(folder))
    return manifest


def _absent(folder: str) -> str:
    """Why there is no table in a folder, and what to do."""
    here = folder.rstrip("/")
    if stage := stage_of(here):
        output = here.rsplit("/", 2)[0] if here.count("/") > 1 else "."
        if files.exists(files.join(output, MANIFEST)):  # a dataset, and no folder of a build
            return f"{output}: holds no build; did you mean {output.rpartition('/')[0] or '.'}?"
        if not files.exists(output):
            return f"{output}: no such folder; give the folder that `build --output` wrote"
        return (
            f"{folder}: the {stage} stage has not finished here; run `python -m pipeline {stage}` (or build) with "
            f"--output {output} first"
        )
    for other in (files.join(here, "dataset"), here.rpartition("/")[0] or "."):
        if files.exists(files.join(other, MANIFEST)):
            return f"{folder}: no {MANIFEST} in it; did you mean {other}?"
    state = f"no {MANIFEST} in it: nothing was finished here" if files.exists(here) else "no such folder"
    return f"{folder}: {state}; give the folder of a dataset, OUTPUT/dataset, or run `python -m pipeline build` again"


def check_sizes(folder: str, manifest: Manifest) -> None:
    """Raise DataError unless all shards of a committed folder are there with the sizes that the manifest states."""
    if problem := size_problem(folder, manifest):
        raise DataError(problem)


def size_problem(folder: str, manifest: Manifest) -> str | None:
    """Describe the first shard that is missing or has another size than the manifest states; None if there is none."""
    there = files.entries(folder)
    for shard in manifest.shards:
        size = there.get(shard.file)
        if size != shard.bytes:
            state = "is missing" if size is None else f"has {size} bytes instead of {shard.bytes}"
            return f"{files.join(folder, shard.file)}: {state}; {_REMEDY}"
        if problem := _unfinished(files.join(folder, shard.file)):
            return problem
    return None


def _unfinished(path: str) -> str | None:
    """Describe a local file that does not end as Parquet files do: after a power failure, its bytes may be zeros."""
    if "://" in path:
        return None
    with open(path, "rb") as file:
        file.seek(-len(_MAGIC), 2)
        return None if file.read() == _MAGIC else f"{path}: does not end like a Parquet file; {_REMEDY}"


def read_shards(
    folder: str, columns: Sequence[str] | None = None, check_digests: bool = False
) -> Iterator[pa.Table]:
    """Yield the shards of a committed folder one by one, in the order of their shard keys.

    Raises DataError if a shard is missing or has another size than the manifest states, or, with `check_digests`, other
    bytes.
    """
    for shard in read_manifest(folder).shards:
        yield read_shard(folder, shard, columns, check_digests)


def read_table(
    folder: str, kind: Table, columns: Sequence[str] | None = None, check_digests: bool = False
) -> pa.Table:
    """Return a whole committed folder as one table, without the pictures unless `columns` names them.

    Raises DataError like `read_shards`.
    """
    names = list(columns or [name for name in kind.schema.names if name != "image"])
    return read_all(folder, pa.schema([kind.schema.field(name) for name in names]), check_digests)


def read_all(folder: str, schema: pa.Schema, check_digests: bool = False) -> pa.Table:
    """Return the columns of `schema` of a whole committed folder. Raises DataError like `read_shards` and `with_schema`."""
    parts = [
        with_schema(
            read_shard(folder, shard, schema.names, check_digests), schema, files.join(folder, shard.file)
        )
        for shard in read_manifest(folder).shards
    ]
    return pa.concat_tables([schema.empty_table(), *parts])


def with_schema(table: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    """Return the rows of a shard with the types of `schema`.

    Raises DataError if columns have other types.
    """
    try:
        if table.schema.names != schema.names or table.schema.types != schema.types:
            raise pa.ArrowInvalid("columns have other names or types")
        return table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: its columns are not those of this table ({error}); {_REMEDY}") from error


def by_bucket(shards: Iterable[Shard], count: int) -> dict[int, list[Shard]]:
    """Return the shards of each of `count` buckets that has any; `count` divides the table's own number of buckets.

    Shards without rows are never written.
    """
    found: dict[int, list[Shard]] = {}
    for shard in shards:
        number, total = shard_position(shard.file)
        assert total % count == 0
        found.setdefault(number // (total // count), []).append(shard)
    return found


def shard_position(file: str) -> tuple[int, int]:
    """Return the index of a shard and the number of shards, which its name states. Raises DataError if it does not."""
    match = _NUMBERED.search(file)
    number, total = (int(match[1]), int(match[2])) if match else (0, 0)
    if number >= total or total & (total - 1):
        raise DataError(
            f"the name of shard {file} does not state an index and a power of two as the number of shards, as "
            f"{shard_stem('train', 0, 8)} does"
        )
    return number, total


def bucket_total(shards: Sequence[Shard]) -> int:
    """Return the number of buckets that the shards of a table are named by, 1 without shards.

    Raises DataError if their names differ in it.
    """
    totals = {shard_position(shard.file)[1] for shard in shards} or {1}
    if len(totals) > 1:
        raise DataError(
            f"the names of the shards state different numbers of shards ({min(totals)}, {max(totals)})"
        )
    return totals.pop()


def read_bucket(
    folder: str, shards: Iterable[Shard], schema: pa.Schema, check_digests: bool = False
) -> pa.Table:
    """Return the shards of one bucket (see `by_bucket`) as one table of the columns of `schema`, in one piece.

    Raises DataError like `read_shards`.
    """
    parts = (
        with_schema(
            read_shard(folder, shard, schema.names, check_digests), schema, files.join(folder, shard.file)
        )
        for shard in shards
    )
    return pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()


def read_shard(
    folder: str, shard: Shard, columns: Sequence[str] | None = None, check_digests: bool = False
) -> pa.Table:
    """Read some columns of one shard. Raises DataError like `read_shards`."""
    path = files.join(folder, shard.file)
    with _open(path) as file:
        size = file.seek(0, 2)
        if size != shard.bytes:
            raise DataError(f"{path}: has {size} bytes instead of {shard.bytes}; {_REMEDY}")
        file.seek(0)
        if check_digests:
            content = file.read_buffer() if isinstance(file, pa.NativeFile) else file.read()
            if hashlib.sha256(content).hexdigest() != shard.sha256:
                raise DataError(f"{path}: its bytes differ from those that were written; {_REMEDY}")
            file = pa.BufferReader(content)
        try:
            table = parquet.read_table(file, columns=list(columns) if columns else None)
            table.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
            return table
        except (pa.ArrowException, OSError, ValueError) as error:
            seen = str(error).partition("\n")[0]
            raise DataError(
                f"{path}: no table of this version ({seen}); run the stage that writes it again"
            ) from error


def check_digest(folder: str, shard: Shard) -> None:
    """Raise DataError if the bytes of a shard are not those that were written."""
    path = files.join(folder, shard.file)
    if files.sha256(path) != shard.sha256:
        raise DataError(f"{path}: its bytes differ from those that were written; {_REMEDY}")


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
