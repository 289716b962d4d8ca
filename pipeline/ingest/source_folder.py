"""Read the files that lists name by path; refuse paths that leave the base folder."""

import errno
import os
import stat
from typing import IO

from common.errors import DataError
from pipeline import files
from pipeline.rejections import Rejected
from pipeline.remote import NOT_THERE

_OF_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def check_path(path: str) -> list[str]:
    """Split a path into its components. Raises Rejected `bad_location` if it leaves the base folder."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\x00" in path or ":" in parts[0] or ".." in parts:
        raise Rejected("bad_location", f"{path!r} is not a path below the source folder; use / and no ..")
    return parts


class SourceFolder:
    """The base folder of the lists; files of more than `max_bytes` bytes are rejected."""

    def __init__(self, base: str, max_bytes: int) -> None:
        self._base, self._max_bytes = base, max_bytes
        self.is_remote = "://" in base
        self._real_base = os.path.join(os.path.realpath(base), "")  # ends with a separator
        self._folders: set[str] = set()  # folders that were checked to be inside

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises Rejected, and OSError for errors of the machine: no more open files, no memory."""
        try:
            with self._open(path) as file:
                data = file.read(self._max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Rejected("not_found", f"{path}: no such file") from error
        except DataError as error:
            if isinstance(error.__cause__, PermissionError):
                raise Rejected("unreadable_file", str(error)) from error
            if isinstance(error.__cause__, NOT_THERE):
                raise Rejected("not_found", str(error)) from error
            raise  # no network or no credentials: not a fault of the image
        except OSError as error:
            if error.errno in _OF_MACHINE:
                raise
            raise Rejected("unreadable_file", f"{path}: {error.strerror or error}") from error
        if len(data) > self._max_bytes:
            raise Rejected("too_large", f"{path}: more than {self._max_bytes} bytes")
        if not data:
            raise Rejected("empty", path)
        return data

    def _open(self, path: str) -> IO[bytes]:
        full = files.join(self._base, *check_path(path))
        if self.is_remote:
            return files.open_read(full)
        folder = os.path.dirname(full)
        if folder not in self._folders:
            self._check_inside(folder, path)
            self._folders.add(folder)
        # Without O_NONBLOCK, opening a pipe blocks until it is written to.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(full, flags | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self._check_inside(full, path)  # a symbolic link
            descriptor = os.open(full, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Rejected("unreadable_file", f"{path}: not a regular file")
        except BaseException:
            os.close(descriptor)
            raise
        return open(descriptor, "rb")

    def _check_inside(self, full: str, path: str) -> None:
        """Resolve all links. Raises Rejected `bad_location` if they lead out of the base folder."""
        if not os.path.join(os.path.realpath(full), "").startswith(self._real_base):
            raise Rejected(
                "bad_location",
                f"{path}: a link out of the source folder; put the file itself below the source folder",
            )
