"""The order of an epoch: a pure function of (size, seed, epoch)."""

import torch
from torch import Tensor

from training.randomness import generator


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation of range(size), int64 [size], the same on every machine."""
    return torch.randperm(size, generator=generator(seed, epoch, "order"))
