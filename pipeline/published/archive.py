"""The released archive `dataset_no_images`, zipped or unpacked: texts found by name and read up to a limit.

Nothing is ever extracted, so no member can lead out of a folder. What a member claims of its size is not trusted: how
much is read depends on the size of the archive itself.
"""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from common.errors import DataError, UsageError

MAX_MEMBERS = 100_000
MAX_ARCHIVE = 1 << 28  # bytes of a zip file
MAX_BYTES = 1 << 27  # of one member; the real annotations have some 50 MB
MAX_RATIO = 100  # bytes of all texts for each byte of the zip file; its texts are a tenth in size when packed
MIN_READ = 1 << 20  # bytes of texts that even the smallest archive may hold


class Archive:
    """The text files below one folder of the release, by their names relative to it."""

    def __init__(self, where: str, members: Mapping[str, zipfile.ZipInfo | Path], zipped: bool) -> None:
        self.where, self._members, self._zipped = where, members, zipped
        self._left = max(MIN_READ, MAX_RATIO * os.path.getsize(where)) if zipped else MAX_BYTES * MAX_RATIO

    @classmethod
    def open(cls, path: str, marker: str) -> Self:
        """Open a zip file or a folder and go to the folder that holds the file `marker`.

        Raises UsageError for a path that is not local, DataError where there is no archive, or no `marker` in it.
        """
        if "://" in path:
            raise UsageError(f"{path}: give a local file or folder; copy the archive here first")
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
                f"{path}: no {marker} in it; give dataset_no_images.zip as it was released, or the folder it unpacks to, "
                "and with --set-name the set that it holds"
            )
        root = min(roots, key=lambda name: (name.count("/"), name))
        below = {n.removeprefix(root): member for n, member in members.items() if n.startswith(root)}
        return cls(path, below, not os.path.isdir(path))

    def names(self, folder: str) -> list[str]:
        """The names of the files directly in `folder`, sorted."""
        inside = [name.removeprefix(f"{folder}/") for name in self._members if name.startswith(f"{folder}/")]
        return sorted(name for name in inside if "/" not in name)

    def place(self, name: str) -> str:
        """How messages call a file of the archive."""
        return f"{self.where}:{name}" if self._zipped else os.path.join(self.where, name)

    def read(self, name: str) -> str:
        """The text of a file. Raises DataError where it is missing, damaged, too large, or not UTF-8."""
        limit = min(MAX_BYTES, self._left)
        member = self._members.get(name)
        if member is None:
            raise DataError(f"{self.place(name)}: no such file in the archive; get the release again")
        try:
            data = self._bytes(member, limit + 1)
        except (OSError, EOFError, RuntimeError, ValueError, zlib.error, zipfile.BadZipFile) as error:
            # RuntimeError: encrypted; its subclass NotImplementedError: an unknown compression
            raise DataError(f"{self.place(name)}: cannot be read ({error}); get the release again") from error
        if len(data) > limit:
            raise DataError(
                f"{self.place(name)}: more than {limit} bytes, which no file of the release has in an archive of this "
                "size; get the release again"
            )
        self._left -= len(data)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = 1 + data.count(b"\n", 0, error.start)
            raise DataError(
                f"{self.place(name)}, line {line}: no UTF-8 text ({error.reason}); get the release again"
            ) from error

    def _bytes(self, member: zipfile.ZipInfo | Path, count: int) -> bytes:
        """At most so many bytes of a member."""
        if isinstance(member, Path):
            with member.open("rb") as file:
                return file.read(count)
        with zipfile.ZipFile(self.where) as archive, archive.open(member) as packed:
            return packed.read(count)


def _zip_members(path: str) -> dict[str, zipfile.ZipInfo]:
    try:
        if os.path.getsize(path) > MAX_ARCHIVE:
            raise DataError(
                f"{path}: more than {MAX_ARCHIVE} bytes; dataset_no_images.zip, without images, has less"
            )
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file or folder; check the path") from error
    except DataError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no zip file ({error}); get dataset_no_images.zip again") from error
    if len(infos) > MAX_MEMBERS:
        raise DataError(
            f"{path}: {len(infos)} members; the release has some fifty, so this is something else"
        )
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.filename in members:
            raise DataError(
                f"{path}: two members are called {info.filename!r}, so it is open which counts; get the release again"
            )
        members[info.filename] = info
    return members
