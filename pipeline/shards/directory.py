"""Read a table: a folder of Parquet shards and a manifest that names them (written by `commit.py`)."""

import hashlib
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa

from common import parquet_rows
from common.errors import DataError
from pipeline import files
from pipeline.layout import stage_of
from schemas.manifest import MANIFEST, Manifest, Shard
from schemas.table import Table

# Of at most ten digits: larger numbers belong to no dataset, and overflow the 64 bits of shard keys.
_NUMBERED = re.compile(r"-([0-9]{1,10})-of-([0-9]{1,10})[.-]")
_MAGIC = b"PAR1"
_REMEDY = "it was changed or damaged after it was written; run the stage that writes it again with --force, or restore the file"


def shard_stem(prefix: str, index: int, count: int) -> str:
    """Return the name of shard `index` of `count` up to its digest, in the form that Hugging Face uses."""
    return f"{prefix}-{index:05d}-of-{count:05d}"


def find_manifest(folder: str) -> Manifest | None:
    """Return the manifest of a folder, or None if it has none."""
    path = files.join(folder, MANIFEST)
    data = files.read_existing(path)
    return None if data is None else Manifest.from_json(data.removeprefix(BOM_UTF8), path)


def valid_manifest(folder: str) -> Manifest | None:
    """Return the manifest of a folder, or None if it has none or a damaged one.

    Raises DataError if the manifest exists but cannot be read: a table may be complete although its file system does not
    answer, and callers remove or replace a table without a valid manifest.
    """
    path = files.join(folder, MANIFEST)
    try:
        data = files.read_existing(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error}); check the disk and the permissions, then run the command again"
        ) from error
    if data is None:
        return None
    try:
        return Manifest.from_json(data.removeprefix(BOM_UTF8), path)
    except DataError:
        return None


def read_manifest(folder: str) -> Manifest:
    """Return the manifest of a folder. Raises DataError if it has none."""
    manifest = find_manifest(folder)
    if manifest is None:
        raise DataError(_missing_table(folder))
    return manifest


def _missing_table(folder: str) -> str:
    """Return the message that a folder is not a table, with a remedy that fits the folder."""
    path = folder.rstrip("/")
    if stage := stage_of(path):
        output = path.rsplit("/", 2)[0] if path.count("/") > 1 else "."
        if files.exists(files.join(output, MANIFEST)):  # a dataset, and no folder of a build
            return f"{output}: holds no build; did you mean {output.rpartition('/')[0] or '.'}?"
        if not files.exists(output):
            return f"{output}: no such folder; give the folder that `build --output` wrote"
        return (
            f"{folder}: the {stage} stage has not finished here; run `python -m pipeline {stage}` (or build) with "
            f"--output {output} first"
        )
    for other in (files.join(path, "dataset"), path.rpartition("/")[0] or "."):
        if files.exists(files.join(other, MANIFEST)):
            return f"{folder}: no {MANIFEST} in it; did you mean {other}?"
    state = f"no {MANIFEST} in it, so no build has finished here" if files.exists(path) else "no such folder"
    return f"{folder}: {state}; give the folder of a dataset, OUTPUT/dataset, or run `python -m pipeline build` again"


def check_sizes(folder: str, manifest: Manifest) -> None:
    """Raise DataError unless all shards of a table exist with the sizes that the manifest states."""
    if problem := size_problem(folder, manifest):
        raise DataError(problem)


def size_problem(folder: str, manifest: Manifest) -> str | None:
    """Describe the first shard that is missing or has a wrong size; return None if there is none."""
    present = files.entries(folder)
    for shard in manifest.shards:
        size = present.get(shard.file)
        if size != shard.bytes:
            state = "is missing" if size is None else f"has {size} bytes instead of {shard.bytes}"
            return f"{files.join(folder, shard.file)}: {state}; {_REMEDY}"
        if problem := _missing_end(files.join(folder, shard.file)):
            return problem
    return None


def _missing_end(path: str) -> str | None:
    """Describe a local file without the end mark of Parquet, such as one of zeros after a power failure."""
    if "://" in path:
        return None
    with open(path, "rb") as file:
        file.seek(-len(_MAGIC), 2)
        return None if file.read() == _MAGIC else f"{path}: does not end like a Parquet file; {_REMEDY}"


def read_shards(
    folder: str, columns: Sequence[str] | None = None, check_digests: bool = False
) -> Iterator[pa.Table]:
    """Yield the shards of a table one by one, in the order of their shard keys.

    Raises DataError if a shard is missing or has a wrong size or, with `check_digests`, a wrong digest.
    """
    for shard in read_manifest(folder).shards:
        yield read_shard(folder, shard, columns, check_digests)


def read_table(
    folder: str, table: Table, columns: Sequence[str] | None = None, check_digests: bool = False
) -> pa.Table:
    """Return all shards as one Arrow table, without images unless `columns` names them.

    Raises DataError like `read_shards`.
    """
    names = list(columns or [name for name in table.schema.names if name != "image"])
    return read_all(folder, pa.schema([table.schema.field(name) for name in names]), check_digests)


def read_all(folder: str, schema: pa.Schema, check_digests: bool = False) -> pa.Table:
    """Return the columns of `schema` of all shards. Raises DataError like `read_shards` and `with_schema`."""
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
    """Group shards into `count` buckets by their index; `count` divides the number of shards in their names.

    Buckets without rows have no shard and are left out.
    """
    found: dict[int, list[Shard]] = {}
    for shard in shards:
        number, total = shard_position(shard.file)
        assert total % count == 0
        found.setdefault(number // (total // count), []).append(shard)
    return found


def shard_position(file: str) -> tuple[int, int]:
    """Return the index of a shard and the number of shards, which its name states, each with at most ten digits.

    Raises DataError if it does not.
    """
    match = _NUMBERED.search(file)
    number, total = (int(match[1]), int(match[2])) if match else (0, 0)
    if number >= total or total & (total - 1):
        raise DataError(
            f"the name of shard {file} does not state an index and a power of two below 10^10 as the number of shards, as "
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
            table = parquet_rows.read_table(file, columns or None)
            table.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
            return table
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"{path}: cannot be read as a table of this version ({reason}); run the stage that writes it again"
            ) from error


def check_current(
    folder: str, digest: str, stage: str, made_from: Literal["images", "retrievals"] = "images"
) -> None:
    """Raise DataError unless the table that `stage` has written to `folder` was made from the present images or lists.

    made_from: a table of ingest; digest: SHA-256 of its manifest.
    """
    inputs = read_manifest(folder).about.get("inputs")
    if not isinstance(inputs, dict) or inputs.get(made_from) != digest:
        title = {"images": "the images", "retrievals": "the list of images"}[made_from]
        raise DataError(f"{folder}: the table is older than {title}; run `python -m pipeline {stage}`")


def check_digest(folder: str, shard: Shard) -> None:
    """Raise DataError if the bytes of a shard are not those that were written."""
    path = files.join(folder, shard.file)
    if files.sha256(path) != shard.sha256:
        raise DataError(f"{path}: its bytes differ from those that were written; {_REMEDY}")


def _open(path: str) -> Any:
    """Open a shard for reading, a local one with Arrow's own file class.

    Arrow's threads release a Python file after reading it. If the interpreter exits at that moment, the waiting thread
    aborts the process.
    """
    if "://" in path:
        return files.open_read(path)
    try:
        return pa.OSFile(path)
    except OSError:
        return files.open_read(path)  # whose error explains the cause
