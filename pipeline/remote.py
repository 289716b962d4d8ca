"""Remote files through fsspec: gs://, s3://, hdfs:// and webhdfs://. Other modules use them through `pipeline.files`.

fsspec and the library of a scheme are imported at the first use of the scheme. Credentials and endpoints are those of the
library (docs/how-to/dataflow.md).
"""

import io
import logging
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any

from common.atomic_file import TEMPORARY_PREFIX
from common.errors import DataError, UsageError
from common.extras import install_command

EXTRAS = {"gs": "gcp", "s3": "aws", "hdfs": "", "webhdfs": ""}  # scheme → extra with its library
OBJECT_STORES = {"gs", "s3"}
RENAMING = {"hdfs", "webhdfs"}  # incomplete uploads are visible, but renames are atomic
_ASIDE_PREFIX = ".replaced-"  # hidden, and not removed like temporary files: it may be the only copy
NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_READ_BYTES = 5 << 20  # roughly what a store sends in the latency of one request
_BUFFER_BYTES = 1 << 18
_PART_BYTES = 16 << 20
_REQUESTS = 16  # concurrent requests
_CHECKSUMS = ("ETag", "md5Hash", "crc32c")  # S3, Cloud Storage, Cloud Storage for composite objects
_TIMES = ("mtime", "modificationTime")  # hdfs, webhdfs


def locate(path: str) -> tuple[Any, str]:
    """Return the file system client for a URL, and the path within that file system."""
    scheme = path.partition("://")[0]
    if scheme not in EXTRAS:
        raise UsageError(
            f"{path}: unknown scheme {scheme!r}; use a local path, gs://, s3://, hdfs:// or webhdfs://"
        )
    try:
        with explained(path):
            # Other processes write files as well, which a cached listing would miss.
            if scheme not in OBJECT_STORES:
                return _url_to_fs(path)
            # All characters are part of an object's name, including those that url_to_fs would interpret.
            return _object_store(scheme)(use_listings_cache=False), path.partition("://")[2].rstrip("/")
    except DataError as refusal:
        if not isinstance(error := refusal.__cause__, ImportError):
            raise
        extra = EXTRAS[scheme]
        remedy = install_command(extra) if extra else "install the library"
        raise UsageError(f"{path}: {scheme}:// needs a missing library ({error}); {remedy}") from error


def _url_to_fs(path: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    fs, key = url_to_fs(path, use_listings_cache=False)
    return fs, str(key)


def _object_store(scheme: str) -> Any:
    if scheme == "gs":
        # The default class of gcsfs requests the bucket type by gRPC, which emulators do not support.
        from gcsfs.core import GCSFileSystem

        if (log := logging.getLogger("gcsfs")).level == logging.NOTSET:
            log.setLevel(logging.CRITICAL)  # it logs every exception that it raises
        return GCSFileSystem
    import fsspec

    return fsspec.get_filesystem_class(scheme)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Convert exceptions of a file system library to DataErrors with the path and the remedy."""
    try:
        yield
    except Exception as error:
        raise explanation(path, error) from error


def explanation(path: str, error: Exception) -> DataError:
    """Return the DataError for an exception of a file system library."""
    if isinstance(error, NOT_THERE):
        text = "no such file or bucket; check the path, and 'source' in the configuration"
    elif _is_denied(error):
        text = (
            f"permission denied ({error}); check the credentials and their rights (docs/how-to/dataflow.md)"
        )
    else:
        reason = f"{type(error).__name__}: {error}"
        text = f"cannot reach the file system ({reason}); check network, endpoint and credentials (docs/how-to/dataflow.md)"
    return DataError(f"{path}: {' '.join(text.split())}")


def _is_denied(error: Exception) -> bool:
    return (
        isinstance(error, PermissionError)
        or str(getattr(error, "code", "")) in ("401", "403")
        or str(error).startswith("Forbidden")
    )


class _Reader(io.RawIOBase):
    """A remote file opened for reading that raises DataErrors."""

    def __init__(self, path: str, file: Any) -> None:
        self._path, self._file = path, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with explained(self._path):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        with explained(self._path):
            return bytes(self._file.read())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


def open_read(path: str) -> IO[bytes]:
    """Open a file for reading. Each request reads 5 MiB ahead."""
    fs, key = locate(path)
    with explained(path):
        file = fs.open(key, "rb", block_size=_READ_BYTES, cache_type="readahead")
        facts = getattr(file, "details", None) or {}
        if facts.get("type") == "directory":
            raise IsADirectoryError(path)
    return io.BufferedReader(_Reader(path, file), _BUFFER_BYTES)


def open_write(path: str) -> IO[bytes]:
    """Open a file for writing. In object stores it appears when it is closed."""
    fs, key = locate(path)
    with explained(path):
        file: IO[bytes] = fs.open(key, "wb", block_size=_PART_BYTES)
    return file


@contextmanager
def replace(path: str) -> Iterator[IO[bytes]]:
    """Yield a local temporary file and upload it if the block ends without an exception.

    Uploads to object stores are atomic: the object appears when its last byte is stored. On HDFS two renames replace a
    file, and between them the path has no file; if the process is killed there, the old file remains beside it as
    .replaced-*-NAME.
    """
    fs, key = locate(path)
    with tempfile.NamedTemporaryFile() as file:
        yield file
        file.flush()
        with explained(path):
            if path.partition("://")[0] in RENAMING:
                _put_and_rename(fs, file.name, key)
            else:
                fs.put_file(file.name, key, chunksize=_PART_BYTES)


def create(path: str, data: bytes) -> bool:
    """Create a file; return False if it exists. Atomic on gs:// and s3://; on HDFS existence is checked first."""
    fs, key = locate(path)
    with explained(path):
        try:
            fs.pipe_file(key, data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if not fs.exists(key):
                raise
            logging.getLogger(__name__).debug("%s: %s", path, error)  # the store's error for an existing file
            return False
    return True


def _put_and_rename(fs: Any, local: str, key: str) -> None:
    folder, _, name = key.rpartition("/")
    temporary = f"{folder}/{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{name}"
    try:
        fs.put_file(local, temporary)
        _rename_over(fs, temporary, key)
    except BaseException:
        _remove(fs, temporary)
        raise


def _rename_over(fs: Any, source: str, target: str) -> None:
    """Rename a file on HDFS, which does not replace existing files: the old one is set aside, and restored on failure."""
    aside = ""
    if _exists(fs, target):
        folder, _, name = target.rpartition("/")
        aside = f"{folder}/{_ASIDE_PREFIX}{secrets.token_hex(8)}-{name}"
        _rename(fs, target, aside)
    try:
        _rename(fs, source, target)
    except BaseException:
        if aside:
            _rename(fs, aside, target)
        raise
    if aside:
        _remove(fs, aside)


def _rename(fs: Any, source: str, target: str) -> None:
    fs.mv(source, target)
    # webhdfs reports a refused rename and a missing source only in its reply, which fsspec ignores
    if _exists(fs, source):
        raise OSError(f"{source} was not renamed to {target}")
    if not _exists(fs, target):
        raise FileNotFoundError(source)


def _exists(fs: Any, key: str) -> bool:
    try:
        fs.info(key)
    except FileNotFoundError:  # fs.exists of webhdfs returns False for any other error, too
        return False
    return True


def info(path: str) -> Mapping[str, Any] | None:
    """Return the metadata of a file or folder, or None if it does not exist."""
    fs, key = locate(path)
    with explained(path):
        try:
            return dict(fs.info(key))
        except NOT_THERE:
            return None


def entries(folder: str) -> dict[str, Mapping[str, Any]]:
    """Return the metadata of the files and subfolders of a folder by name, from one listing."""
    fs, key = locate(folder)
    with explained(folder):
        try:
            found = fs.ls(key, detail=True)
        except NOT_THERE:
            return {}
    base = key.rstrip("/") + "/"
    return {
        entry["name"].removeprefix(base).rstrip("/"): entry
        for entry in found
        if entry["name"].startswith(base) and entry["name"] != base  # skip the marker object of the folder
    }


def remove(path: str) -> None:
    """Remove a file if it exists."""
    fs, key = locate(path)
    with explained(path):
        _remove(fs, key)


def remove_all(paths: Sequence[str]) -> None:
    """Remove files that exist, concurrently."""
    with ThreadPoolExecutor(_REQUESTS) as pool:
        list(pool.map(remove, paths))


def move(pairs: Sequence[tuple[str, str]]) -> None:
    """Move files, given as pairs (from, to), concurrently; those that are missing are left out.

    Object stores copy them on the server.
    """
    with ThreadPoolExecutor(_REQUESTS) as pool:
        list(pool.map(lambda pair: _move(*pair), pairs))


def _move(source: str, target: str) -> None:
    (fs, old), (_, new) = locate(source), locate(target)
    with explained(source), suppress(FileNotFoundError):
        if source.partition("://")[0] in RENAMING:
            _rename_over(fs, old, new)
        else:
            fs.cp_file(old, new)
            _remove(fs, old)


def remove_folder(path: str) -> None:
    """Remove a folder; in object stores, all objects whose names begin with the folder's name and a slash."""
    fs, key = locate(path)
    with explained(path):
        if path.partition("://")[0] in RENAMING:
            if fs.isdir(key):
                fs.rm(key, recursive=True)
            return
        # fs.rm would treat *, ? and [ in names as patterns, and on S3 ignore objects that it may not delete.
        with suppress(FileNotFoundError), ThreadPoolExecutor(_REQUESTS) as pool:
            base = key.rstrip("/") + "/"
            names = [name for name in fs.find(key) if name.startswith(base)]
            list(pool.map(lambda name: _remove(fs, name), names))


def _remove(fs: Any, key: str) -> None:
    with suppress(FileNotFoundError):
        fs.rm_file(key)


def version(facts: Mapping[str, Any]) -> str:
    """Return a string that changes with the content: the size, and the checksum or else the modification time."""
    mark = next((facts[key] for key in (*_CHECKSUMS, *_TIMES) if facts.get(key)), "")
    return f"{facts['size']}-{str(mark).strip(chr(34))}"


def read_ranges(ranges: Sequence[tuple[str, int, int]]) -> list[bytes | None]:
    """Read byte ranges concurrently; None for a range beyond the end of its file or of a missing file."""
    found: list[bytes | None] = [None if length else b"" for _, _, length in ranges]
    located = [locate(path) for path, _, _ in ranges]
    by_client: dict[Any, list[int]] = {}
    for index, (fs, _) in enumerate(located):
        if ranges[index][2]:
            by_client.setdefault(fs, []).append(index)
    for fs, mine in by_client.items():
        with explained(ranges[mine[0]][0]):
            results = fs.cat_ranges(
                [located[index][1] for index in mine],
                [ranges[index][1] for index in mine],
                [ranges[index][1] + ranges[index][2] for index in mine],
                on_error="return",
            )
        for index, result in zip(mine, results, strict=True):
            path, _, length = ranges[index]
            if isinstance(result, Exception) and not _is_past_end(result):
                raise explanation(path, result) from result
            if not isinstance(result, BaseException) and len(result) == length:
                found[index] = bytes(result)
    return found


def _is_past_end(error: Exception) -> bool:
    """Whether an error means that a range starts after the end of its file or that the file is missing."""
    return (
        isinstance(error, NOT_THERE)
        or str(getattr(error, "code", "")) == "416"
        or "not satisfiable" in str(error)
    )
