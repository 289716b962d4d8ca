"""Files wherever Beam can reach them: a local path, gs://, s3://, hdfs://. One way to read, one to commit."""

import errno
import fnmatch
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.buckets import share_clients
from schemas.errors import DataError, UsageError

share_clients()
TEMPORARY = ".writing-"
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
_NOT_THERE = (FileNotFoundError, NotADirectoryError)
_PLAIN = {"mime_type": "application/octet-stream", "compression_type": CompressionTypes.UNCOMPRESSED}


def set_options(arguments: Sequence[str]) -> None:
    """Give the file systems of buckets Beam's flags; a job would do so only when it starts."""
    FileSystems.set_options(PipelineOptions(list(arguments)))


def join(base: str, *names: str) -> str:
    """Join names to a folder of any file system."""
    return FileSystems.join(base, *names)


def open_read(path: str) -> IO[bytes]:
    """Open a file for reading bytes. Raises DataError, naming it, if there is none, or none for us."""
    try:
        if "://" not in path:
            return open(path, "rb")
        return FileSystems.open(path, **_PLAIN)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such file; check the path, and 'source' in the configuration") from error
    except PermissionError as error:
        raise DataError(f"{path}: we are not allowed to read this file; change its permissions") from error


def read_text(path: str) -> str:
    """Read a whole UTF-8 text file, without the mark that some editors put first. Raises DataError if it is none."""
    with open_read(path) as file:
        try:
            return file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: no UTF-8 text ({error}); save it as UTF-8") from error


def open_append(path: str) -> IO[bytes]:
    """Open a new file for writing so that each write is there at once, where the file system can do that."""
    if "://" in path:
        return FileSystems.create(path, **_PLAIN)
    make_folder(os.path.dirname(path))
    return open(path, "ab", buffering=0)


def names(folder: str, pattern: str) -> list[str]:
    """Names of the files of a folder that match a pattern such as *.csv; none where there is no such folder."""
    if "://" not in folder:
        with suppress(*_NOT_THERE):
            return fnmatch.filter(os.listdir(folder), pattern)
        return []
    return [FileSystems.split(path)[1] for path in _match(folder, pattern)]


def folders_with(folder: str, name: str) -> list[str]:
    """Names of the folders in a folder that hold a file of this name."""
    if "://" not in folder:
        return [path.parent.name for path in sorted(Path(folder).glob(f"*/{name}"))]
    return [FileSystems.split(FileSystems.split(path)[0])[1] for path in _match(folder, f"*/{name}")]


def check_output(path: str) -> None:
    """Raise UsageError for a folder in a bucket that Beam would take for a pattern, and so for other folders as well."""
    if "://" in path and any(character in path for character in "*?["):
        raise UsageError(f"--output {path}: in a bucket, * ? and [ are patterns; give another name")


def _match(folder: str, pattern: str) -> list[str]:
    return [file.path for file in FileSystems.match([join(folder, pattern)])[0].metadata_list]


def exists(path: str) -> bool:
    """Whether the file or folder exists."""
    return FileSystems.exists(path)


def sha256(path: str) -> str:
    """Digest of a file, hex, read in pieces."""
    digest = hashlib.sha256()
    with open_read(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def make_folder(path: str) -> None:
    """Make a folder where the file system has folders. Raises DataError where that is not possible."""
    if "://" in path:
        return
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise DataError(f"{path}: the folder cannot be made ({reason}); give another --output") from error


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    if "://" not in path:
        with suppress(*_NOT_THERE):
            os.remove(path)
    elif FileSystems.exists(path):
        FileSystems.delete([path])


def remove_folder(path: str) -> None:
    """Remove a folder with all in it, if it is there; a bucket has no folders, but objects whose names begin so."""
    if "://" not in path:
        with suppress(*_NOT_THERE):
            shutil.rmtree(path)
    elif found := _match(path, "**"):
        FileSystems.delete(found)


def remove_temporaries(folder: str) -> None:
    """Remove what `replace` had begun to write in a folder when it was killed."""
    for name in names(folder, f"{TEMPORARY}*"):
        remove(join(folder, name))


@contextmanager
def replace(path: str) -> Iterator[IO[bytes]]:
    """Write a file that appears whole or not at all: a temporary name, then a rename over `path`."""
    folder, name = FileSystems.split(path)
    make_folder(folder)
    temporary = join(folder, f"{TEMPORARY}{secrets.token_hex(8)}-{name}")
    try:
        with FileSystems.create(temporary, **_PLAIN) as file:
            yield file
        if "://" in path:
            FileSystems.rename([temporary], [path])
        else:
            os.replace(temporary, path)
    except OSError as error:
        remove(temporary)
        if error.errno not in _CANNOT_WRITE:
            raise
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); make room, or give another --output"
        ) from error
    except BaseException:
        remove(temporary)
        raise


def write_text(path: str, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with replace(path) as file:
        file.write(text.encode())
