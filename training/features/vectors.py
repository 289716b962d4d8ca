"""Feature vectors in the place of pictures: what a linear head is trained on."""

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
    """The features of a set, float32 [N, C], on one device."""

    vectors: Tensor

    size = (1, 1)
    """Of each, as an image of C channels: a method sees features as images, and mixes them as it mixes images."""

    def __len__(self) -> int:
        return len(self.vectors)

    def to(self, device: torch.device) -> Self:
        """Copy them to `device`."""
        return replace(self, vectors=self.vectors.to(device))

    def take(self, rows: Tensor) -> Self:
        """Copy some of them."""
        return replace(self, vectors=self.vectors[rows.to(self.vectors.device)])

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield for each int64 [B] of `rows` these features, float32 [B, C, 1, 1]."""
        for index in rows:
            yield self.vectors[index.to(self.vectors.device)][:, :, None, None]


class NoAugmentation(Augmenter):
    """The augmentation of feature vectors: none."""

    def __init__(self) -> None:
        pass

    def draw(
        self, _count: int, _seed: int, _epoch: int, device: torch.device, _view: int = 0
    ) -> AugmentDraws:
        """Draw nothing."""
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return AugmentDraws(nothing, nothing, nothing.bool())

    def train(self, images: Tensor, _draws: AugmentDraws, _chosen: slice) -> Tensor:
        """Return the features [B, C, 1, 1]."""
        return images

    def evaluate(self, images: Tensor) -> Tensor:
        """Return the features [B, C, 1, 1]."""
        return images


def make_augmenter(config: TrainConfig, data: ImageSet, device: torch.device) -> Augmenter:
    """Return what changes the pictures of a set before a network sees them; features stay as they are.

    Raises UsageError if the pictures are too small for the configured crop.
    """
    if isinstance(data.images, FeatureVectors):
        return NoAugmentation()
    return Augmenter(config.augment, *data.images.size, device)
