"""Find the picture files below a folder, and say what else is there."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from common.errors import DataError

ENDINGS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".avif"),
    *(
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".jp2",
        ".jxl",
    ),  # ingest does not decode these, and rejects them by name
}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
LINK_OUT, BROKEN, FOLDER_LINK = "links that lead out of the folder", "broken links", "links to folders"
NO_IMAGE, LOOSE, UNREADABLE = (
    "files that are no pictures",
    "files beside the class folders",
    "unreadable files",
)


@dataclass(frozen=True)
class ImageFile:
    """A picture file: its path relative to the folder of the lists, and the folders that it is in, from the top."""

    path: str
    folders: tuple[str, ...]


@dataclass
class FolderFiles:
    """The pictures in the order of their names, and by reason how many files were passed over, with one example."""

    images: list[ImageFile] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def pass_over(self, reason: str, path: str) -> None:
        """Count a file that is not listed."""
        self.passed_over[reason] += 1
        self.examples.setdefault(reason, path)


def find_images(folder: str, base: str, follow_links: bool) -> FolderFiles:
    """Find the pictures in the subfolders of `folder`; hidden files and folders are ignored.

    A file is a picture if its ending or its first bytes say so. Links to pictures within `folder` are pictures. With
    `follow_links`, so are links out of it and the contents of linked folders, but never what is outside of `base`, from
    where a build reads nothing. Raises DataError if there is no such folder.
    """
    found = FolderFiles()
    top = os.path.realpath(folder)
    allowed = os.path.realpath(base) if follow_links else top
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(
            f"{folder}: {error.strerror}; give the folder that holds a subfolder for each class"
        ) from error
    for name in names:
        path = os.path.join(folder, name)
        if name[0] == ".":
            continue
        if os.path.isdir(path):
            for file in _walk(path, allowed, follow_links, found):
                _add(file, folder, base, allowed, found)
        else:
            found.pass_over(LOOSE, path)
    return found


def _walk(folder: str, allowed: str, follow_links: bool, found: FolderFiles) -> Iterator[str]:
    """The files below a folder, in the order of their names; each real folder once."""
    seen: set[str] = set()
    pending = [folder]
    while pending:
        place = pending.pop()
        if os.path.islink(place) and not (follow_links and _is_inside(place, allowed)):
            found.pass_over(LINK_OUT if follow_links else FOLDER_LINK, place)
            continue
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            found.pass_over(UNREADABLE, place)
            continue
        visible = [entry for entry in entries if entry.name[0] != "."]
        yield from (entry.path for entry in visible if not entry.is_dir())
        pending += [entry.path for entry in reversed(visible) if entry.is_dir()]


def _add(file: str, folder: str, base: str, allowed: str, found: FolderFiles) -> None:
    """Add a file to the pictures, or count why it is none."""
    if os.path.islink(file):
        if not os.path.exists(file):
            return found.pass_over(BROKEN, file)
        if not _is_inside(file, allowed):
            return found.pass_over(LINK_OUT, file)
    try:
        is_image = os.path.isfile(file) and _is_image(file)
    except OSError:
        return found.pass_over(UNREADABLE, file)
    if not is_image:
        return found.pass_over(NO_IMAGE, file)
    folders = os.path.relpath(os.path.dirname(file), folder).split(os.sep)
    found.images.append(ImageFile(os.path.relpath(file, base).replace(os.sep, "/"), tuple(folders)))


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), folder]) == folder


def _is_image(file: str) -> bool:
    if os.path.splitext(file)[1].lower() in ENDINGS:
        return True
    with open(file, "rb") as stream:
        start = stream.read(16)
    return (
        start.startswith(_MAGIC)
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or start[4:12] == b"ftypavif"
    )
