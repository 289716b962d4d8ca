"""Reading and atomic replacement of files on local paths, gs://, s3://, hdfs:// and webhdfs://."""

import errno
import fnmatch
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from common import atomic_file
from common.atomic_file import TEMPORARY_PREFIX
from common.errors import DataError, UsageError
from pipeline import remote

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def join(base: str, *names: str) -> str:
    """Join names to a folder on any file system."""
    if not _is_remote(base):
        return os.path.join(base, *names)
    for name in names:
        base = f"{base.rstrip('/')}/{name.lstrip('/')}"
    return base


def open_read(path: str) -> IO[bytes]:
    """Open a file for reading bytes. Raises DataError if it is missing or not readable."""
    if _is_remote(path):
        return remote.open_read(path)
    with _explained(path):
        return open(path, "rb")


def read_existing(path: str) -> bytes | None:
    """Read a whole file; return None if it does not exist. Raises DataError if it cannot be read.

    Unlike reading after `exists`, this is safe while another process creates or removes the file.
    """
    try:
        with open_read(path) as file:
            return file.read()
    except DataError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise


def read_text(path: str) -> str:
    """Read a whole UTF-8 text file, without a byte order mark. Raises DataError if it is not UTF-8."""
    with open_read(path) as file:
        try:
            return file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error}); save the file as UTF-8") from error


def read_lines(path: str) -> list[str]:
    """Read the lines of a UTF-8 text file, which end in LF or CR LF.

    str.splitlines would also split at U+2028 and similar characters, which may occur within lines of JSON.
    """
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    return lines if lines[-1] else lines[:-1]


def open_append(path: str) -> IO[bytes]:
    """Open a new file for writing. Locally each write is visible at once; in object stores the file appears at close.

    A local write is complete or raises OSError with the path; after an error, every later write raises it again.
    """
    if _is_remote(path):
        return remote.open_write(path)
    make_folder(os.path.dirname(path))
    return _AppendedFile(path, "a")


class _AppendedFile(io.FileIO):
    """A file without a buffer that writes all bytes, and nothing behind an incomplete write."""

    _error: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self._error:
            raise self._error
        left = memoryview(data)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self._error = OSError(error.errno, error.strerror, self.name)
            raise self._error from error
        return memoryview(data).nbytes


def names(folder: str, pattern: str) -> list[str]:
    """List the names in a folder that match a pattern such as *.csv; an absent folder has none.

    Temporary files of `replace`, which may be incomplete, are left out.
    """
    found = fnmatch.filter(_all_names(folder), pattern)
    return [name for name in found if not name.startswith(TEMPORARY_PREFIX)]


def _all_names(folder: str) -> Iterable[str]:
    if _is_remote(folder):
        return _remote_files(folder)
    with suppress(*remote.NOT_THERE):
        return os.listdir(folder)
    return ()


def entries(folder: str) -> dict[str, int | None]:
    """Return the sizes in bytes of the files in a folder by name, with None for subfolders; {} for an absent folder."""
    if _is_remote(folder):
        found = remote.entries(folder).items()
        return {name: int(facts["size"]) if facts["type"] == "file" else None for name, facts in found}
    with suppress(*remote.NOT_THERE), os.scandir(folder) as listing:
        return {entry.name: _size_of(entry) for entry in listing}
    return {}


def _size_of(entry: os.DirEntry[str]) -> int | None:
    try:
        return None if entry.is_dir() else entry.stat().st_size
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):  # a broken link, or one to itself
            raise
        return 0


def folders_with(folder: str, name: str) -> list[str]:
    """List the subfolders that contain a file of this name."""
    if _is_remote(folder):
        folders = [each for each, facts in remote.entries(folder).items() if facts["type"] == "directory"]
        return [each for each in sorted(folders) if exists(join(folder, each, name))]
    return [path.parent.name for path in sorted(Path(folder).glob(f"*/{name}"))]


def check_output(path: str) -> None:
    """Raise UsageError for a remote folder whose name tools such as gsutil would interpret as a pattern."""
    if _is_remote(path) and any(character in path for character in "*?["):
        raise UsageError(f"--output {path}: a URL must not contain *, ? or [; choose another name")


def exists(path: str) -> bool:
    """Return whether the file or folder exists."""
    return remote.info(path) is not None if _is_remote(path) else os.path.exists(path)


def size(path: str) -> int | None:
    """Return the size of a file in bytes, or None if it does not exist."""
    if _is_remote(path):
        facts = remote.info(path)
        return int(facts["size"]) if facts else None
    with suppress(*remote.NOT_THERE):
        return os.path.getsize(path)
    return None


def versions(base: str, paths: Iterable[str]) -> Iterator[str | None]:
    """Yield the version of each file below a folder, in the order of `paths`; None if it is missing or unreadable.

    A version changes with the content and is found without reading it: size and modification time locally, size and
    checksum in object stores. A remote folder is listed once, at its first file; the listing is kept until the end.
    """
    if not _is_remote(base):
        for path in paths:
            found = None
            with suppress(OSError, ValueError):  # a null byte in a name is a ValueError
                status = os.stat(os.path.join(base, path))
                found = None if stat.S_ISDIR(status.st_mode) else _local_version(status)
            yield found
        return
    listings: dict[str, dict[str, str]] = {}
    for path in paths:
        folder, _, name = join(base, path).rpartition("/")
        if folder not in listings:
            listings[folder] = {each: remote.version(facts) for each, facts in _remote_files(folder).items()}
        yield listings[folder].get(name)


def _local_version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def sha256(path: str) -> str:
    """Return the hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with open_read(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_ranges(ranges: Sequence[tuple[str, int, int]]) -> list[bytes | None]:
    """Read byte ranges (path, offset, length); None for a range beyond the end of its file or of a missing file.

    Each local file is opened once; remote ranges are read concurrently.
    """
    found: list[bytes | None] = [None] * len(ranges)
    far = [index for index, (path, _, _) in enumerate(ranges) if _is_remote(path)]
    for index, data in zip(far, remote.read_ranges([ranges[index] for index in far]), strict=True):
        found[index] = data
    by_path: dict[str, list[int]] = {}
    for index, (path, _, _) in enumerate(ranges):
        if not _is_remote(path):
            by_path.setdefault(path, []).append(index)
    for path, indices in by_path.items():
        with _explained(path), suppress(*remote.NOT_THERE), open(path, "rb", buffering=0) as file:
            for index in indices:
                found[index] = _read_range(file.fileno(), *ranges[index][1:])
    return found


def _read_range(descriptor: int, offset: int, length: int) -> bytes | None:
    data = os.pread(descriptor, length, offset)
    while data and len(data) < length:  # pread may return fewer bytes than requested
        more = os.pread(descriptor, length - len(data), offset + len(data))
        data = data + more if more else b""
    return data if len(data) == length else None


def make_folder(path: str) -> None:
    """Create a folder and its parents, if the file system has folders. Raises DataError if that fails."""
    if _is_remote(path):
        return
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise DataError(f"{path}: cannot create the folder ({reason}); choose another --output") from error


def remove(path: str) -> None:
    """Remove a file if it exists."""
    if _is_remote(path):
        remote.remove(path)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.remove(path)


def remove_all(paths: Sequence[str]) -> None:
    """Remove files that exist; remote files concurrently."""
    far = [path for path in paths if _is_remote(path)]
    remote.remove_all(far)
    for path in paths:
        if not _is_remote(path):
            remove(path)


def remove_empty_folder(path: str) -> None:
    """Remove a folder if it exists and is empty. Object stores have no folders."""
    if not _is_remote(path):
        with suppress(OSError):
            os.rmdir(path)


def move(pairs: Sequence[tuple[str, str]]) -> None:
    """Move files, given as pairs (from, to) on one file system, replacing existing files; remote files concurrently.

    Those that are missing are left out: another attempt of the same task may have moved them a moment before.
    """
    remote.move([pair for pair in pairs if _is_remote(pair[0])])
    for source, target in pairs:
        if not _is_remote(source):
            with _explained(source), suppress(FileNotFoundError):
                os.replace(source, target)


def remove_folder(path: str) -> None:
    """Remove a folder and its content, if it exists."""
    if _is_remote(path):
        remote.remove_folder(path)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(path)


def remove_temporaries(folder: str) -> None:
    """Remove the temporary files that a killed `replace` left in a folder."""
    for name in _all_names(folder):
        if name.startswith(TEMPORARY_PREFIX):
            remove(join(folder, name))


@contextmanager
def replace(path: str) -> Iterator[IO[bytes]]:
    """Replace a file at the end of the block; an exception leaves the old file unchanged.

    Atomic except on HDFS, where the path has no file for the moment between two renames (see `remote.replace`).
    """
    try:
        with remote.replace(path) if _is_remote(path) else _replace_local(path) as file:
            yield file
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        remedy = "free disk space or choose another --output"
        if _is_remote(path):
            remedy = f"free space in {tempfile.gettempdir()} or set TMPDIR to a folder on another disk"
        raise DataError(f"{path}: cannot write the file ({error.strerror}); {remedy}") from error


@contextmanager
def replace_together(paths: Iterable[str]) -> Iterator[list[IO[bytes]]]:
    """Replace several files at the end of the block, when all of them are complete; an exception leaves all as they were."""
    with ExitStack() as stack:
        opened = [stack.enter_context(replace(path)) for path in paths]
        yield opened
        for file in opened:  # so that a full disk is noticed before the first one is replaced
            file.flush()


@contextmanager
def _replace_local(path: str) -> Iterator[IO[bytes]]:
    make_folder(os.path.dirname(os.path.abspath(path)))
    with atomic_file.replacing(path) as temporary, temporary.open("wb") as file:
        yield file


def create(path: str, text: str) -> bool:
    """Create a UTF-8 text file; return False if it exists. Atomic on local disks, gs:// and s3://, not on HDFS."""
    if _is_remote(path):
        return remote.create(path, text.encode())
    make_folder(os.path.dirname(os.path.abspath(path)))
    temporary = str(atomic_file.temporary_path(path))
    try:
        with open(temporary, "xb") as file:
            file.write(text.encode())
        os.link(temporary, path)  # atomic, and fails if the file exists
    except FileExistsError:
        return False
    finally:
        remove(temporary)
    return True


def write_text(path: str, text: str) -> None:
    """Replace a file atomically by UTF-8 text."""
    with replace(path) as file:
        file.write(text.encode())


def _is_remote(path: str) -> bool:
    return "://" in path


def _remote_files(folder: str) -> dict[str, Mapping[str, Any]]:
    return {name: facts for name, facts in remote.entries(folder).items() if facts["type"] == "file"}


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except remote.NOT_THERE as error:
        raise DataError(f"{path}: no such file; check the path, and 'source' in the configuration") from error
    except PermissionError as error:
        raise DataError(f"{path}: permission denied; change the file's permissions") from error
