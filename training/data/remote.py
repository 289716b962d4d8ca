"""Sets behind an address are copied to a local folder, once, and then read like any others.

A global shuffle needs each picture at any moment, and the hash of a shard needs all of it; both want a local file.
"""

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
from pyarrow.fs import FileSystem, FileType

from common.atomic_file import replacing, write_bytes
from common.errors import DataError, UsageError
from schemas.example import PICTURES
from schemas.manifest import MANIFEST, Manifest, Shard


def local_folder(data: str, cache: Path | None) -> Path:
    """Return where `data` is read: a path itself, an address in its copy. UsageError for one without a cache."""
    if "://" not in data:
        return Path(data)
    if cache is None:
        raise UsageError(f"--data {data}: name a folder to copy it to, --cache DIR")
    return cache


def local_copy(data: str, sets: list[str], cache: Path | None) -> Path:
    """Return the local folder of `data`, a path, or an address (s3://, gs://, hdfs://, file://) copied to `cache`.

    Of an address the named sets are copied, and the pictures that they share; shards that are there in full are
    not copied again, and what they hold is checked by their hash when they are opened. Raises UsageError for what
    is no address or has no cache, DataError for one that cannot be read.
    """
    folder = local_folder(data, cache)
    if "://" not in data:
        return folder
    try:
        source, root = FileSystem.from_uri(data)
        for name in sets:
            about = _copy_set(source, f"{root}/{name}", folder / name)
            if about.get("mode") == "shared":
                _copy_set(source, f"{root}/{PICTURES}", folder / PICTURES)
    except pa.ArrowException as error:
        raise UsageError(
            f"--data {data}: {error}; give a folder, or an address such as s3://BUCKET/PATH"
        ) from error
    except OSError as error:
        raise DataError(f"{data}: {error}; check the address and your rights to read it") from error
    return folder


def _copy_set(source: FileSystem, root: str, into: Path) -> dict[str, object]:
    """Copy one set, its manifest last, and return what the manifest says about it."""
    if source.get_file_info(f"{root}/{MANIFEST}").type != FileType.File:
        raise DataError(
            f"{root}: no such set, or its build was not finished (no {MANIFEST}); check the address, or build again"
        )
    with source.open_input_stream(f"{root}/{MANIFEST}") as stream:
        text = stream.read()
    manifest = Manifest.from_json(text, f"{root}/{MANIFEST}")
    into.mkdir(parents=True, exist_ok=True)
    here = into / MANIFEST
    complete = here.is_file() and here.read_bytes() == text
    if not complete:
        here.unlink(missing_ok=True)  # what is copied from here on is not the set that it describes
    for shard in manifest.shards:
        target = into / shard.file
        if _has_size(target, shard) and (complete or _has_bytes(target, shard)):
            continue
        with (
            replacing(target) as temporary,
            source.open_input_stream(f"{root}/{shard.file}") as stream,
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(stream, file, 1 << 20)
    if not complete:
        write_bytes(here, text)
    return manifest.about


def _has_size(path: Path, shard: Shard) -> bool:
    return path.is_file() and path.stat().st_size == shard.bytes


def _has_bytes(path: Path, shard: Shard) -> bool:
    """Tell a shard that an interrupted copy has brought from one of the same size and another build."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
