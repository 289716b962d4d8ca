"""The order of an epoch, and each process's part of it: pure functions of (size, seed, epoch) and (rank, world).

Nothing else is remembered between two steps but how many examples of the epoch are done. So a run goes on exactly
where it was with other numbers of workers or processes, and a Cursor with another batch size, too.
"""

from dataclasses import asdict, dataclass
from typing import Self

import torch
from torch import Tensor

from training.randomness import generator


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation of range(size), int64 [size], the same on every machine."""
    return torch.randperm(size, generator=generator(seed, epoch, "order"))


def share(count: int, rank: int, world: int) -> slice:
    """Return the part of `count` places that is process `rank`'s of `world`; parts differ in size by at most one."""
    return slice(count * rank // world, count * (rank + 1) // world)


@dataclass(frozen=True)
class Cursor:
    """Where a reader stands in its endless stream of epochs."""

    seed: int
    epoch: int = 0
    consumed: int = 0
    """Examples of this epoch that all processes together have taken."""

    def take(self, size: int, batch: int, rank: int = 0, world: int = 1) -> tuple[Tensor, Self]:
        """Return the rows of the next batch that are this process's, and the cursor after that batch.

        `batch`: examples over all processes; the last batch of an epoch holds what is left, and every example
        comes once an epoch.
        """
        rest = epoch_order(size, self.seed, self.epoch)[self.consumed : self.consumed + batch]
        done = self.consumed + len(rest)
        after = (self.epoch, done) if done < size else (self.epoch + 1, 0)
        return rest[share(len(rest), rank, world)], type(self)(self.seed, *after)

    def state(self) -> dict[str, int]:
        """Return what to store, three numbers; Cursor(**state) goes on from it."""
        return asdict(self)
