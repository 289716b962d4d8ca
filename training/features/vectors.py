"""Feature vectors as a substitute for images, to train a linear head."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from training.config import TrainConfig
from training.data.augment import AugmentDraws, Augmenter
from training.data.shards import ImageSet


@dataclass(frozen=True)
class FeatureVectors:
    """The features of a set, float32 [N, C], on one device; an ImageStore."""

    vectors: Tensor

    size = (1, 1)
    """Height and width: features are passed to methods as images of C channels, and mixed like images."""

    def __len__(self) -> int:
        return len(self.vectors)

    def to(self, device: torch.device) -> Self:
        """Copy the features to `device`."""
        return replace(self, vectors=self.vectors.to(device))

    def take(self, rows: Tensor) -> Self:
        """Copy the features of some rows."""
        return replace(self, vectors=self.vectors[rows.to(self.vectors.device)])

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the features float32 [B, C, 1, 1] for each int64 [B] of `rows`, selected on the device without waiting."""
        for index in rows:
            device_index = index.to(
                self.vectors.device, non_blocking=True
            )  # do not wait for the batch before
            yield self.vectors[device_index][:, :, None, None]


class NoAugmentation(Augmenter):
    """An augmenter that returns feature vectors unchanged."""

    def __init__(self) -> None:
        self.output_size = FeatureVectors.size

    def draw(
        self, _count: int, _seed: int, _epoch: int, device: torch.device, _view: int = 0
    ) -> AugmentDraws:
        """Return empty draws."""
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        return AugmentDraws(empty, empty, empty.bool())

    def train(self, images: Tensor, _draws: AugmentDraws, _chosen: slice) -> Tensor:
        """Return the features [B, C, 1, 1]."""
        return images

    def evaluate(self, images: Tensor) -> Tensor:
        """Return the features [B, C, 1, 1]."""
        return images


def make_augmenter(config: TrainConfig, data: ImageSet, device: torch.device) -> Augmenter:
    """Return the augmenter of a set; features are not augmented.

    Raises UsageError if the images are smaller than the configured crop.
    """
    if isinstance(data.images, FeatureVectors):
        return NoAugmentation()
    return Augmenter(config.augment, *data.images.size, device)
