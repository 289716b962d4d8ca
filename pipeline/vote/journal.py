"""Append votes to a CSV file so that nothing acknowledged is lost and the file is a valid vote table at any moment.

An append is one write of one line, followed by fsync. A crash can leave one line without its line break, which the next
start completes or removes. Undoing a vote replaces the file atomically by one without its line. The file is locked, and is
not written after another program has changed it.
"""

import csv
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.atomic_file import replacing
from common.errors import DataError, UsageError
from common.locks import open_locked, take_lock
from schemas.cells import csv_text
from schemas.vote import ANSWERS, VOTE

# `time` is last: where a crash cuts a line inside of it, all of the vote is there.
COLUMNS = (*(name for name in VOTE.schema.names if name != "time"), "time")
HEADER = csv_text(COLUMNS, []).encode()


class JournalError(Exception):
    """A vote could not be stored; the message is for workers and for the operator."""


class VoteNotInFileError(JournalError):
    """The vote to be removed is not in the file, or is spelled differently there."""


def vote_line(vote: Mapping[str, Any]) -> bytes:
    """Return the line of a vote, with its line break."""
    line = _cells([vote.get(name) for name in COLUMNS]) + b"\n"
    assert line.count(b"\n") == 1, "identifiers have no line breaks"
    return line


def _cells(values: list[Any]) -> bytes:
    """Return the values of a line, without its line break."""
    return csv_text((), [values]).removeprefix("\n").removesuffix("\n").encode()


def repaired(data: bytes, path: str) -> bytes:
    """Return the content of a vote file after a crash: complete lines, each with its line break.

    Raises DataError if the file does not begin with HEADER.
    """
    if HEADER.startswith(data):
        return HEADER
    if not data.startswith(HEADER):
        raise DataError(
            f"{path}: its header is not {HEADER.decode().strip()!r}; give --votes a new file, and keep this one in "
            "'votes' of the configuration (--config)"
        )
    end = data.rfind(b"\n") + 1
    return data[:end] + (data[end:] + b"\n" if _is_vote(data[end:]) else b"")


def _is_vote(line: bytes) -> bool:
    """Return whether a line without its line break has all columns of a vote."""
    try:
        cells = next(csv.reader([line.decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    if len(cells) != len(COLUMNS):
        return False
    vote = dict(zip(COLUMNS, cells, strict=True))
    return vote["answer"] in ANSWERS and "\0" not in vote["time"]


class VoteJournal:
    """A vote file that is open for appending. Methods are called by one thread at a time.

    Raises DataError if the file is something else, UsageError if it cannot be written or another process has it open.
    """

    def __init__(self, path: str) -> None:
        self.path = path = os.path.realpath(path)  # a link stays when the file is replaced
        try:
            self._file = _open(path)
        except OSError as error:
            raise UsageError(
                f"{path}: {error.strerror}; choose a file in a folder that can be written"
            ) from error
        found = _read(self._file)
        whole = repaired(found, path)
        self.removed_bytes = 0 if whole.startswith(found) else len(found) - len(whole)
        """Length of an unfinished line that was removed."""
        if whole != found:
            common = min(len(whole), len(found))  # one is a prefix of the other
            os.ftruncate(self._file, common)
            _write(self._file, whole[common:])
            os.fsync(self._file)
            _sync_folder(path)
        self._size = len(whole)
        self._broken, self._is_closed = "", False
        self._name = os.path.basename(path)  # workers see it in messages

    @property
    def is_empty(self) -> bool:
        """Whether the file has no votes."""
        return self._size == len(HEADER)

    def append(self, vote: Mapping[str, Any]) -> None:
        """Store a vote; it is on disk when this returns. Raises JournalError if it could not be stored."""
        line = vote_line(vote)
        self._check()
        try:
            _write(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            self._take_back(error)
            raise JournalError(f"the vote could not be stored: {error.strerror}") from error
        self._size += len(line)

    def remove(self, vote: Mapping[str, Any]) -> None:
        """Remove the vote with this image_id, class_name and worker_id.

        Raises VoteNotInFileError if there is none, JournalError if it could not be removed.
        """
        self._check()
        data = _read(self._file)
        before = len(data)
        beginning = b"\n" + _cells([vote[name] for name in VOTE.key]) + b","
        while (start := data.find(beginning) + 1) > 0:
            data = data[:start] + data[data.index(b"\n", start) + 1 :]
        if len(data) == before:
            raise VoteNotInFileError("the vote is not in the file")
        try:
            self._replace(data)
        except OSError as error:
            raise JournalError(f"the vote could not be removed: {error.strerror}") from error

    def _replace(self, data: bytes) -> None:
        file = -1
        try:
            with replacing(self.path) as temporary:
                temporary.write_bytes(data)
                shutil.copymode(self.path, temporary)
                file = os.open(temporary, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
                take_lock(file)  # before others can see it
        except OSError:
            if file >= 0:
                os.close(file)
            raise
        os.close(self._file)
        self._file, self._size = file, len(data)
        _sync_folder(self.path)

    def _check(self) -> None:
        if self._broken:
            raise JournalError(self._broken)
        try:
            here, mine = os.stat(self.path), os.fstat(self._file)
        except FileNotFoundError:
            self._broken = f"{self._name} was removed; start `vote` again"
            raise JournalError(self._broken) from None
        if (here.st_dev, here.st_ino, here.st_size) != (mine.st_dev, mine.st_ino, self._size):
            self._broken = f"{self._name} was changed by another program; start `vote` again"
            raise JournalError(self._broken)

    def _take_back(self, error: OSError) -> None:
        """Remove the part of a line that was written before an error."""
        try:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        except OSError:  # the content of the disk is unknown
            self._broken = f"{self._name} cannot be written ({error.strerror}); start `vote` again"

    def close(self) -> None:
        """Close the file, which ends its lock. A closed journal stays closed."""
        if not self._is_closed:
            os.close(self._file)
        self._is_closed = True


def _open(path: str) -> int:
    file = open_locked(path)
    if file is None:
        raise UsageError(
            f"{path}: another `vote` is writing to this file; stop it, or give --votes another file"
        )
    return file


def _read(file: int) -> bytes:
    with open(os.dup(file), "rb") as duplicate:
        duplicate.seek(0)
        return duplicate.read()


def _write(file: int, data: bytes) -> None:
    written = os.write(file, data) if data else 0
    if written < len(data):  # a second write raises the reason, such as a full disk
        _write(file, data[written:])


def _sync_folder(path: str) -> None:
    """Make the name of a file durable."""
    folder = os.open(Path(path).absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
