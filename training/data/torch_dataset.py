"""A built set as a map-style torch Dataset, for custom training loops."""

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.data.augment import to_float
from training.data.image_stores import StreamedImages
from training.data.shards import ImageSet, load


class ImageDataset(Dataset[tuple[Any, int, int]]):
    """A built set; items are (image, given label, row).

    Images are decoded when an item is read. A pickled dataset stores only its folder and opens it again when unpickled,
    for example in the workers of a DataLoader.
    """

    labels: Tensor
    """Given labels, int64 [N]."""
    is_clean: Tensor
    """Whether each label is right, bool [N]; for measurements, not for training."""
    class_names: tuple[str, ...]

    def __init__(self, directory: str | os.PathLike[str], transform: Callable[[Tensor], Any] | None) -> None:
        """Open and check the set; see `open_set`."""
        self.directory, self.transform = Path(directory), transform
        self._open()

    def _open(self) -> None:
        data = load(self.directory, resident_bytes=0)
        assert isinstance(data.images, StreamedImages)
        self.data: ImageSet = data
        self.labels, self.is_clean, self.class_names = data.labels, data.is_clean, data.class_names
        self.image_ids, self._images = data.image_ids, data.images

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, int, int]:
        """Decode one image.

        Raises IndexError for a row outside the set, DataError for an image that cannot be decoded.
        """
        row = operator.index(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"{self.directory}: row {row} is out of range for {len(self)} examples")
        row %= len(self)
        pixels = torch.from_numpy(self._images.pixels(row)).permute(2, 0, 1)
        image = to_float(pixels) if self.transform is None else self.transform(pixels)
        return image, int(self.labels[row]), row

    def __getstate__(self) -> dict[str, Any]:
        return {"directory": self.directory, "transform": self.transform}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def open_set(
    directory: str | os.PathLike[str], transform: Callable[[Tensor], Any] | None = None
) -> ImageDataset:
    """Open a built set, such as `dataset/red-0.40`.

    `transform` receives each image as uint8 [3, H, W], as torchvision.transforms.v2 does. Without it, images are
    float32 [3, H, W] in [−1, 1], the input of the networks of this package. Raises DataError for an unfinished or
    altered set.
    """
    return ImageDataset(directory, transform)
