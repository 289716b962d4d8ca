"""Evaluation in batches."""

import pytest
import torch
from torch import Tensor, nn

from training.config import AugmentConfig
from training.data.augment import Augmenter
from training.data.shards import ImageSet
from training.evaluation import BATCH, BATCH_PIXELS, batch_size, predict


class CountingNetwork(nn.Module):
    """Records the shapes of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(images.shape)
        return images.mean(dim=(2, 3))


@pytest.mark.parametrize("resize", [0, 8, 320, 1000])
def test_large_images_are_evaluated_in_small_batches(sets: tuple[ImageSet, ImageSet], resize: int) -> None:
    """The memory of a batch must not grow with the size of the images, whatever the parts of a training step are."""
    network, (data, _) = CountingNetwork(), sets
    augmenter = Augmenter(AugmentConfig(resize=resize), *data.images.size, torch.device("cpu"))
    assert len(predict([network], data, augmenter, bf16=False)) == len(data)
    assert sum(shape[0] for shape in network.shapes) == len(data)
    assert all(shape[0] * shape[2] * shape[3] <= BATCH_PIXELS for shape in network.shapes)


def test_the_larger_size_of_stored_and_resized_images_counts() -> None:
    assert batch_size((32, 32), (32, 32)) == BATCH
    assert (
        batch_size((224, 224), (32, 32)) == batch_size((32, 32), (224, 224)) == batch_size((224, 224)) < BATCH
    )
    assert batch_size((20_000, 20_000)) == 1
