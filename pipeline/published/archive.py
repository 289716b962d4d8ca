"""Reader of the released archive `dataset_no_images`, zipped or unpacked.

Nothing is extracted, so no member can escape a folder. Declared sizes of members are not trusted: the number of bytes read
is limited by the size of the archive.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from common.errors import DataError, UsageError

MAX_MEMBERS = 100_000
MAX_ARCHIVE = 1 << 28  # bytes of a zip file
MAX_BYTES = 1 << 27  # of one member; the released annotations have about 50 MB
MAX_RATIO = 100  # bytes of text per byte of the zip file; the release has about 10
MIN_READ = 1 << 20  # bytes of text that an archive of any size may contain


class Archive:
    """The text files below one folder of the release, by their names relative to it."""

    def __init__(self, where: str, members: Mapping[str, zipfile.ZipInfo | Path], zipped: bool) -> None:
        self.where, self._members, self._zipped = where, members, zipped
        self._left = max(MIN_READ, MAX_RATIO * os.path.getsize(where)) if zipped else MAX_BYTES * MAX_RATIO

    @classmethod
    def open(cls, path: str, marker: str) -> Self:
        """Open a zip file or folder, and use the folder in it that contains the file `marker`.

        Raises UsageError for a path that is not local, DataError if there is no archive or no `marker` in it.
        """
        if "://" in path:
            raise UsageError(f"{path}: expected a local file or folder; copy the archive to this machine")
        if os.path.isdir(path):
            members: dict[str, zipfile.ZipInfo | Path] = {
                file.relative_to(path).as_posix(): file
                for file in sorted(Path(path).rglob("*"))
                if file.is_file()
            }
        else:
            members = dict(_zip_members(path))
        roots = [name.removesuffix(marker) for name in members if name.split("/")[-1] == marker]
        if not roots:
            raise DataError(
                f"{path}: contains no {marker}; give the released dataset_no_images.zip or the unpacked folder, and check "
                "--dataset"
            )
        root = min(roots, key=lambda name: (name.count("/"), name))
        below = {n.removeprefix(root): member for n, member in members.items() if n.startswith(root)}
        return cls(path, below, not os.path.isdir(path))

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files directly in `folder`."""
        inside = [name.removeprefix(f"{folder}/") for name in self._members if name.startswith(f"{folder}/")]
        return sorted(name for name in inside if "/" not in name)

    def location(self, name: str) -> str:
        """Return the name of a file of the archive for messages."""
        return f"{self.where}:{name}" if self._zipped else os.path.join(self.where, name)

    def read(self, name: str) -> str:
        """Return the text of a file. Raises DataError if it is missing, damaged, too large or not UTF-8."""
        limit = min(MAX_BYTES, self._left)
        member = self._members.get(name)
        if member is None:
            raise DataError(f"{self.location(name)}: no such file in the archive; download the release again")
        try:
            data = self._bytes(member, limit + 1)
        except Exception as error:  # of zipfile and of each compression
            raise DataError(
                f"{self.location(name)}: cannot be read ({error}); download the release again"
            ) from error
        if len(data) > limit:
            raise DataError(
                f"{self.location(name)}: more than {limit} bytes, which is too much for an archive of this size; download "
                "the release again"
            )
        self._left -= len(data)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = 1 + data.count(b"\n", 0, error.start)
            raise DataError(
                f"{self.location(name)}, line {line}: not UTF-8 text ({error.reason}); download the release again"
            ) from error

    def _bytes(self, member: zipfile.ZipInfo | Path, count: int) -> bytes:
        """Return at most `count` bytes of a member."""
        if isinstance(member, Path):
            with member.open("rb") as file:
                return file.read(count)
        with zipfile.ZipFile(self.where) as archive, archive.open(member) as packed:
            return packed.read(count)


def _zip_members(path: str) -> dict[str, zipfile.ZipInfo]:
    try:
        if os.path.getsize(path) > MAX_ARCHIVE:
            raise DataError(
                f"{path}: more than {MAX_ARCHIVE} bytes; give dataset_no_images.zip, which is smaller"
            )
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file or folder; check the path") from error
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise any
        raise DataError(f"{path}: not a zip file ({error}); download dataset_no_images.zip again") from error
    if len(infos) > MAX_MEMBERS:
        raise DataError(
            f"{path}: {len(infos)} members, but the release has about 50; give dataset_no_images.zip"
        )
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.filename in members:
            raise DataError(f"{path}: two members are named {info.filename!r}; download the release again")
        members[info.filename] = info
    return members
