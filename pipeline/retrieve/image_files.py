"""Find the image files below a folder, and count the other files by reason."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from common.errors import DataError

EXTENSIONS = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".avif",
    ".tif", ".tiff", ".heic", ".heif", ".jp2", ".jxl",  # ingest rejects these as bad_format
}  # fmt: skip
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
# Reasons for not listing files.
LINK_OUT = "links out of the folder"
FOLDER_LINK = "links to folders"
BROKEN = "broken links"
NO_IMAGE = "files that are not images"
LOOSE = "files beside the class folders"
UNREADABLE = "unreadable files"


@dataclass(frozen=True)
class ImageFile:
    """An image file: its path relative to the folder of the lists, and its parent folders, outermost first."""

    path: str
    folders: tuple[str, ...]


@dataclass
class FolderFiles:
    """The images sorted by name, and for each reason the number of files that are not listed, with one example."""

    images: list[ImageFile] = field(default_factory=list)
    not_listed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reason: str, path: str) -> None:
        """Count a file that is not listed."""
        self.not_listed[reason] += 1
        self.examples.setdefault(reason, path)


def find_images(folder: str, base: str, follow_links: bool) -> FolderFiles:
    """Find the images in the subfolders of `folder`; hidden files and folders are ignored.

    A file is an image by its extension or its first bytes. Links to images within `folder` are listed; with
    `follow_links`, also links out of it and the contents of linked folders, but never files outside of `base`, which a
    build cannot read. Raises DataError if the folder does not exist.
    """
    listing = FolderFiles()
    top = os.path.realpath(folder)
    allowed = os.path.realpath(base) if follow_links else top
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(
            f"{folder}: {error.strerror}; give a folder with a subfolder for each class"
        ) from error
    for name in names:
        path = os.path.join(folder, name)
        if name[0] == ".":
            continue
        if os.path.isdir(path):
            for file in _walk(path, allowed, follow_links, listing):
                _add(file, folder, base, allowed, listing)
        else:
            listing.leave_out(LOOSE, path)
    return listing


def find_all_images(folder: str) -> FolderFiles:
    """Find the images in `folder` and below it, with paths relative to it; links out of it are not followed.

    Raises DataError if the folder does not exist.
    """
    listing, top = FolderFiles(), os.path.realpath(folder)
    if not os.path.isdir(top):
        raise DataError(f"{folder}: no such folder; give a folder of images")
    for file in _walk(top, top, False, listing):
        _add(file, top, top, top, listing)
    return listing


def _walk(folder: str, allowed: str, follow_links: bool, listing: FolderFiles) -> Iterator[str]:
    """Yield the files below a folder, sorted by name; each real folder once."""
    seen: set[str] = set()
    pending = [folder]
    while pending:
        path = pending.pop()
        if os.path.islink(path) and not (follow_links and _is_inside(path, allowed)):
            listing.leave_out(LINK_OUT if follow_links else FOLDER_LINK, path)
            continue
        if (real := os.path.realpath(path)) in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            listing.leave_out(UNREADABLE, path)
            continue
        visible = [entry for entry in entries if entry.name[0] != "."]
        yield from (entry.path for entry in visible if not _is_folder(entry))
        pending += [entry.path for entry in reversed(visible) if _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _add(file: str, folder: str, base: str, allowed: str, listing: FolderFiles) -> None:
    """Add a file to the images, or count why it is not listed."""
    if os.path.islink(file):
        if not os.path.exists(file):
            return listing.leave_out(BROKEN, file)
        if not _is_inside(file, allowed):
            return listing.leave_out(LINK_OUT, file)
    try:
        is_image = os.path.isfile(file) and _is_image(file)
    except OSError:
        return listing.leave_out(UNREADABLE, file)
    if not is_image:
        return listing.leave_out(NO_IMAGE, file)
    folders = os.path.relpath(os.path.dirname(file), folder).split(os.sep)
    listing.images.append(ImageFile(os.path.relpath(file, base).replace(os.sep, "/"), tuple(folders)))


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), folder]) == folder


def _is_image(file: str) -> bool:
    if os.path.splitext(file)[1].lower() in EXTENSIONS:
        return True
    with open(file, "rb") as stream:
        start = stream.read(16)
    return (
        start.startswith(_MAGIC)
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or start[4:12] == b"ftypavif"
    )
