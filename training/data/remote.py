"""Copy sets from a URL to a local folder.

A global shuffle reads images in any order, and checking the SHA-256 of a shard reads all of it; both need local files.
"""

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
from pyarrow.fs import FileSystem, FileType

from common.atomic_file import replacing, write_bytes
from common.errors import DataError, UsageError
from schemas.example import SHARED_IMAGES
from schemas.manifest import MANIFEST, Manifest, Shard


def local_folder(data: str, cache: Path | None) -> Path:
    """Return the local folder of `data`: a path itself, or `cache` for a URL.

    Raises UsageError for a URL without cache.
    """
    if "://" not in data:
        return Path(data)
    if cache is None:
        raise UsageError(f"--data {data}: a URL needs a local folder for its copy; add --cache DIR")
    return cache


def local_copy(data: str, sets: list[str], cache: Path | None) -> Path:
    """Return the local folder of `data`, a path or a URL (s3://, gs://, hdfs://, file://) that is copied to `cache`.

    Only the named sets and the images that they share are copied. Complete shards are not copied again; their SHA-256
    is checked when they are opened. Raises UsageError for an invalid URL or a missing cache, DataError if the URL
    cannot be read.
    """
    folder = local_folder(data, cache)
    if "://" not in data:
        return folder
    try:
        source, root = FileSystem.from_uri(data)
        for name in sets:
            about = _copy_set(source, f"{root}/{name}", folder / name)
            if about.get("mode") == "shared":
                _copy_set(source, f"{root}/{SHARED_IMAGES}", folder / SHARED_IMAGES)
    except pa.ArrowException as error:
        raise UsageError(
            f"--data {data}: {error}; give a folder or a URL such as s3://BUCKET/PATH"
        ) from error
    except OSError as error:
        raise DataError(f"{data}: {error}; check the URL and your read permission") from error
    return folder


def _copy_set(source: FileSystem, root: str, target: Path) -> dict[str, object]:
    """Copy one set, with its manifest last, and return the manifest's `about`."""
    if source.get_file_info(f"{root}/{MANIFEST}").type != FileType.File:
        raise DataError(
            f"{root}: no {MANIFEST}: the set does not exist or its build was interrupted; check the URL or build the "
            "set again"
        )
    with source.open_input_stream(f"{root}/{MANIFEST}") as stream:
        text = stream.read()
    manifest = Manifest.from_json(text, f"{root}/{MANIFEST}")
    target.mkdir(parents=True, exist_ok=True)
    local_manifest = target / MANIFEST
    complete = local_manifest.is_file() and local_manifest.read_bytes() == text
    if not complete:
        local_manifest.unlink(missing_ok=True)  # the folder is about to change
    for shard in manifest.shards:
        path = target / shard.file
        if _has_size(path, shard) and (complete or _has_digest(path, shard)):
            continue
        with (
            replacing(path) as temporary,
            source.open_input_stream(f"{root}/{shard.file}") as stream,
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(stream, file, 1 << 20)
    if not complete:
        write_bytes(local_manifest, text)
    return manifest.about


def _has_size(path: Path, shard: Shard) -> bool:
    return path.is_file() and path.stat().st_size == shard.bytes


def _has_digest(path: Path, shard: Shard) -> bool:
    """Return whether a shard of an interrupted copy is of this build and not of another one with the same size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
