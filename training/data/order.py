"""The order of examples in an epoch, and the part of each process: pure functions of (size, seed, epoch) and rank.

A resumed run needs no other state than the number of steps done, also with another number of processes.
"""

import torch
from torch import Tensor

from training.randomness import generator


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation of range(size), int64 [size], that is the same on every machine."""
    return torch.randperm(size, generator=generator(seed, epoch, "order"))


def process_slice(count: int, rank: int, size: int) -> slice:
    """Return the slice of `count` items that belongs to process `rank` of `size`.

    Slices are disjoint, cover all items, and differ in length by at most 1.
    """
    return slice(count * rank // size, count * (rank + 1) // size)
