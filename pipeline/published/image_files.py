"""Finding the image files of the benchmark by id, in all folder layouts in circulation.

Examples: `all_images/<id>.jpg`, `noisy_images/<id>.jpg` (TFDS builder), `validation/<class>/<id>.jpg`,
`training/red_noise_nl_X/<class>/<id>.jpg`, `cars_train/`, `cars_test/`. Files are named by image id, except in ImageNet's
training folders, which are also supported.
"""

import os
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from common.errors import DataError, UsageError

ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}
_TEST_FOLDER = re.compile(r"(?:^|[_\W])(?:val|validation|test|testing)(?:[_\W]|$)", re.IGNORECASE)
_IMAGENET_FILE = re.compile(r"(n[0-9]{8})_([0-9]+)")


class ImageFiles:
    """Image files below some folders by id; paths are relative to `base`, the common parent folder."""

    def __init__(self, folders: Sequence[str], output: str) -> None:
        """Search the folders without following links.

        `base` is also a parent of `output`, so that one `source` contains lists and images. Raises UsageError if the only
        common parent is the root folder.
        """
        for folder in [*folders, output]:
            if "://" in folder:
                raise UsageError(f"{folder}: expected a local folder; copy the files to this machine")
        real = [os.path.realpath(folder) for folder in folders]
        self.base = os.path.commonpath([*real, os.path.realpath(output)])
        if self.base == os.path.realpath(os.sep):
            raise UsageError(
                f"--output {output}: no common parent folder with the images; choose a folder next to the images"
            )
        self._train: dict[str, str] = {}
        self._test: dict[str, str] = {}
        self.count = 0
        for folder in real:
            self._walk(folder)

    def find(self, image_id: str, is_test: bool, ambiguous: bool) -> str | None:
        """Return the path of an image, or None.

        With `ambiguous` ids, which training and test images of Stanford Cars share, test images are searched only in
        folders named as test folders, and training images only in others.
        """
        own, other = (self._test, self._train) if is_test else (self._train, self._test)
        return own.get(image_id) or (None if ambiguous else other.get(image_id))

    def _walk(self, folder: str) -> None:
        if not os.path.isdir(folder):
            raise DataError(f"{folder}: no such folder; correct --images")
        start = os.path.dirname(folder)
        for current, subfolders, names in os.walk(folder):
            subfolders.sort(
                key=lambda name: (name != "all_images", name)
            )  # the first copy of an image counts
            is_test = bool(_TEST_FOLDER.search(os.path.relpath(current, start).replace(os.sep, "//")))
            images = [name for name in sorted(names) if os.path.splitext(name)[1].lower() in ENDINGS]
            self.count += len(images)
            path = PurePosixPath(os.path.relpath(current, self.base)).as_posix()
            prefix = "" if path == "." else f"{path}/"
            for image_id, name in zip(_ids(images), images, strict=True):
                (self._test if is_test else self._train).setdefault(image_id, prefix + name)


def _ids(names: list[str]) -> list[str]:
    """Return the image id of each file in one folder.

    ImageNet's `n01532829/n01532829_42.JPEG` has the id `n0153282900000005` in mini-ImageNet if its number is the fifth
    smallest of the folder; this is the rule of the TFDS builder `controlled_noisy_web_labels`.
    """
    stems = [os.path.splitext(name)[0] for name in names]
    found = [_IMAGENET_FILE.fullmatch(stem) for stem in stems]
    numbers = sorted((int(match[2]), stem) for match, stem in zip(found, stems, strict=True) if match)
    rank = {stem: nth for nth, (_, stem) in enumerate(numbers, 1)}
    return [
        f"{match[1]}{rank[stem]:08d}" if match else stem for match, stem in zip(found, stems, strict=True)
    ]
