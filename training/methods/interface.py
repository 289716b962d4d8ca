"""What a robust-learning method is to the trainer: how an epoch goes, what one step gives, what is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class ForwardPasses(Protocol):
    """The passes through a network (training.models.student.Student); logits float32 [B, classes]."""

    def __call__(self, images: Tensor) -> Tensor:
        """Pass with gradient: images [B, C, H, W] to logits [B, classes]."""

    def preview(self, images: Tensor) -> Tensor:
        """Pass in training mode without gradient or trace."""

    def infer(self, images: Tensor) -> Tensor:
        """Pass in evaluation mode, without gradient or trace."""


@dataclass(frozen=True)
class RunFacts:
    """What a method may know of its run before it begins."""

    classes: int
    examples: int
    device: torch.device
    epochs: int = 1
    steps: int = 1000
    """Steps of the whole run."""


def _alone(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Batch:
    """What one step gets."""

    images: Tensor
    """Augmented, float32 [B, C, H, W]."""

    labels: Tensor
    """Given labels, int64 [B]."""

    percent: int
    """Share of training done, floor(100·step/steps), 0…99; the MentorMix code calls it the epoch."""

    draws: Mapping[str, Tensor]
    """This step's random numbers, as the method drew them; [B] each where processes share batches."""

    index: Tensor | None = None
    """Which examples of the training set these are, int64 [B]."""

    epoch: int = 0
    """Whole epochs done."""

    phase: int = 0
    """Which part of the epoch's plan this step belongs to."""

    phase_done: float = 0.0
    """Share of that part that is done, in [0, 1)."""

    second_view: Tensor | None = None
    """The same images augmented anew, [B, C, H, W], for methods with two views."""

    progress: float = 0.0
    """Share of training done, step/steps, in [0, 1)."""

    gather: Callable[[Tensor], Tensor] = _alone
    """Joins a tensor [B, …] with those of the other processes to that of the whole batch; no gradient flows.

    Where several processes share a batch, every other tensor here is this process's part of it.
    """


@dataclass(frozen=True)
class StepOutcome:
    """What one step gives."""

    loss: Tensor
    """Scalar with gradient."""

    weights: Tensor | None = None
    """Trust in each given label, [B] in [0, 1], where the method has such a thing."""

    losses: Tensor | None = None
    """Cross-entropy of each image as it is against its given label, [B], where the method computes it."""

    differences: Tensor | None = None
    """What the weights go by: those losses less the moving average of their percentile, [B]."""


class Method:
    """A robust-learning method. Only `step` must be written; the rest is that of plain training."""

    networks = 1
    """How many networks are trained."""

    evaluated = 1
    """The logits of how many of them are added up for evaluation."""

    views = 1
    """Independent augmentations of each image that a step sees."""

    phases = 1
    """The most passes over the set that make up an epoch."""

    shares_batches = True
    """Whether several processes can each compute a part of a batch."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        """What must survive a restart, apart from the parameters; changed in place."""
        self.parameters: dict[str, nn.Parameter] = {}
        """What is trained beside the networks; it does not decay."""

    def weight_decay(self, configured: float) -> float:
        """Return the strength of weight decay, given that of the optimizer's configuration."""
        return configured

    def prepare(self, network: nn.Module) -> None:
        """Change a new network before its training."""

    def begin_epoch(
        self, epoch: int, students: Sequence[ForwardPasses], survey: Callable[[ForwardPasses], Tensor], /
    ) -> None:
        """Look at the whole set before an epoch; `survey` gives a student's cross-entropy [N], unaugmented."""

    def plan(self, _epoch: int, order: Tensor, size: int, /) -> list[Tensor]:
        """Lay out an epoch: for each phase the examples of each step, int64 [steps, B].

        `order` is a random permutation of the set. A pure function of its arguments and `state`.
        """
        steps = len(order) // size
        return [order[: steps * size].view(steps, size)]

    def draw(self, _shape: tuple[int, int], _source: torch.Generator, /) -> dict[str, Tensor]:
        """Draw the random numbers of a whole epoch, each [steps, …].

        [steps, B] where processes share batches, so that each takes its columns.
        """
        return {}

    def report(self) -> dict[str, float]:
        """Return what the method tells of the epoch that has ended, for its row of metrics.jsonl."""
        return {}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Compute the loss of one batch."""
        raise NotImplementedError


def mixed_cross_entropy(logits: Tensor, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy against share·onehot(one) + (1−share)·onehot(other), [B], from logits [B, classes]."""
    log_p = logits.log_softmax(dim=1)
    first = log_p.gather(1, one[:, None]).squeeze(1)
    second = log_p.gather(1, other[:, None]).squeeze(1)
    return -(share * first + (1 - share) * second)


def mix_images(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return share·one + (1−share)·other for images [B, C, H, W] and share [B]."""
    return torch.lerp(other, one, share[:, None, None, None])
