"""Where the images of the benchmark lie, in the layouts in which they circulate.

`all_images/<id>.jpg`, `noisy_images/<id>.jpg` (as the TFDS builder wants them), `validation/<class>/<id>.jpg`,
`training/red_noise_nl_X/<class>/<id>.jpg`, `cars_train/`, `cars_test/`: whatever the folders, the file is called by the id.
Only ImageNet's own training folders call their files otherwise, and are understood, too.
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
    """The images below some folders, by id; paths are relative to `base`, the folder that holds them all."""

    def __init__(self, folders: Sequence[str], output: str) -> None:
        """Walk the folders; links are not followed.

        `base` is also above `output`, so that one `source` in a configuration reaches lists and images. Raises
        UsageError where only the root is above both.
        """
        for folder in [*folders, output]:
            if "://" in folder:
                raise UsageError(f"{folder}: give a local folder; the import reads and writes here")
        real = [os.path.realpath(folder) for folder in folders]
        self.base = os.path.commonpath([*real, os.path.realpath(output)])
        if self.base == os.path.realpath(os.sep):
            raise UsageError(
                f"--output {output}: choose a folder beside the images; a build reads both from one source folder"
            )
        self._train: dict[str, str] = {}
        self._test: dict[str, str] = {}
        self.count = 0
        for folder in real:
            self._walk(folder)

    def find(self, image_id: str, is_test: bool, ambiguous: bool) -> str | None:
        """The path of an image, or None.

        In Stanford Cars the training and the test images have the same numbers (`ambiguous`): then only folders whose
        name says which they are count as a test folder, and only others as training.
        """
        own, other = (self._test, self._train) if is_test else (self._train, self._test)
        return own.get(image_id) or (None if ambiguous else other.get(image_id))

    def _walk(self, folder: str) -> None:
        if not os.path.isdir(folder):
            raise DataError(f"{folder}: no such folder; --images names the folders that hold the images")
        start = os.path.dirname(folder)
        for place, below, names in os.walk(folder):
            below.sort(key=lambda name: (name != "all_images", name))  # the first copy of an image counts
            is_test = bool(_TEST_FOLDER.search(os.path.relpath(place, start).replace(os.sep, "//")))
            images = [name for name in sorted(names) if os.path.splitext(name)[1].lower() in ENDINGS]
            self.count += len(images)
            path = PurePosixPath(os.path.relpath(place, self.base)).as_posix()
            prefix = "" if path == "." else f"{path}/"
            for image_id, name in zip(_ids(images), images, strict=True):
                (self._test if is_test else self._train).setdefault(image_id, prefix + name)


def _ids(names: list[str]) -> list[str]:
    """The id of each file of one folder.

    ImageNet's `n01532829/n01532829_42.JPEG` is called `n0153282900000005` in mini-ImageNet, if its number is the fifth
    smallest of the whole folder: the rule of the TFDS builder `controlled_noisy_web_labels`.
    """
    stems = [os.path.splitext(name)[0] for name in names]
    found = [_IMAGENET_FILE.fullmatch(stem) for stem in stems]
    numbers = sorted((int(match[2]), stem) for match, stem in zip(found, stems, strict=True) if match)
    rank = {stem: nth for nth, (_, stem) in enumerate(numbers, 1)}
    return [
        f"{match[1]}{rank[stem]:08d}" if match else stem for match, stem in zip(found, stems, strict=True)
    ]
