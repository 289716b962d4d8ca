"""What a robust-learning method is to the trainer: draws for an epoch, one step, and a state to save."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Passes(Protocol):
    """The two passes through a network (training.models.student.Student)."""

    def __call__(self, images: Tensor) -> Tensor:
        """Pass with gradient: images [B, C, H, W] to logits [B, classes]."""

    def preview(self, images: Tensor) -> Tensor:
        """Pass without gradient or trace."""


@dataclass(frozen=True)
class Batch:
    """What one step gets."""

    images: Tensor
    """Augmented, float32 [B, C, H, W]."""

    labels: Tensor
    """Given labels, int64 [B]."""

    percent: int
    """Share of all steps done, floor(100·step/steps), 0…99; the MentorMix code calls it the epoch."""

    draws: Mapping[str, Tensor]
    """This step's random numbers, as the method asked for them, each [B]."""


@dataclass(frozen=True)
class Outcome:
    """What one step gives."""

    loss: Tensor
    """Scalar with gradient."""

    weights: Tensor | None = None
    """Trust in each given label, [B] in [0, 1], where the method has such a thing."""


class Method(Protocol):
    """A robust-learning method."""

    state: dict[str, Tensor]
    """What must survive a restart; changed in place."""

    decays_weights: bool
    """Whether the optimiser's weight decay applies."""

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """Draw the random numbers of a whole epoch, each of shape [steps, B]."""

    def step(self, student: Passes, batch: Batch) -> Outcome:
        """Compute the loss of one batch."""


def mixed_cross_entropy(logits: Tensor, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy against share·onehot(one) + (1−share)·onehot(other), [B], from logits [B, classes]."""
    log_p = logits.log_softmax(dim=1)
    first = log_p.gather(1, one[:, None]).squeeze(1)
    second = log_p.gather(1, other[:, None]).squeeze(1)
    return -(share * first + (1 - share) * second)


def mix_images(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return share·one + (1−share)·other for images [B, C, H, W] and share [B]."""
    return torch.lerp(other, one, share[:, None, None, None])
