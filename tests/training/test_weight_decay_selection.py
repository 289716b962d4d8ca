"""The choice of the weight decay on held-out images."""

from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import DataError
from training.config import OptimizerConfig
from training.data.shards import load_pair
from training.weight_decay_selection import validation_accuracies


@pytest.mark.parametrize(("images", "validation"), [(1, 0.0), (4, 0.0), (48, 0.01)])
def test_too_few_images_to_hold_one_out_are_an_error(
    dataset: Path, tiny_config: Any, images: int, validation: float
) -> None:
    train, _ = load_pair(dataset, "blue-0.00", "test", 0)
    config = tiny_config(optimizer=OptimizerConfig(weight_decays=(0.1, 1.0)), validation=validation)
    with pytest.raises(DataError, match=rf"{images} images .* set optimizer.weight_decays=\[\]"):
        validation_accuracies(config, train.take(torch.arange(images)), torch.device("cpu"))
