"""The interface between robust-learning methods and the trainer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class ForwardPasses(Protocol):
    """The forward passes of a network (training.models.student.Student). Logits are float32 [B, classes]."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits with gradient for images [B, C, H, W], in training mode."""

    def preview(self, images: Tensor) -> Tensor:
        """Return logits in training mode without gradient, leaving running statistics unchanged."""

    def infer(self, images: Tensor) -> Tensor:
        """Return logits in evaluation mode without gradient."""


@dataclass(frozen=True)
class RunFacts:
    """Properties of a run that methods need when they are built."""

    classes: int
    examples: int
    device: torch.device
    epochs: int = 1
    accumulate: int = 1
    """Number of parts of each batch."""


def _no_gather(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Batch:
    """Inputs of one step."""

    images: Tensor
    """Augmented, float32 [B, C, H, W]."""

    labels: Tensor
    """Given labels, int64 [B]."""

    percent: int
    """Percentage of training done, floor(100·step/steps), 0 to 99. The MentorMix code calls it the epoch."""

    draws: Mapping[str, Tensor]
    """Random numbers of this step, from `Method.draw`; [B] each for methods that share batches between processes."""

    index: Tensor | None = None
    """Rows of these examples in the training set, int64 [B]."""

    epoch: int = 0
    """Number of completed epochs."""

    phase: int = 0
    """Phase of the epoch that this step belongs to; see `Method.plan`."""

    phase_done: float = 0.0
    """Share of the phase that is done, from 0 to less than 1."""

    second_view: Tensor | None = None
    """The same images with another augmentation, [B, C, H, W], for methods with two views."""

    progress: float = 0.0
    """Share of training done, step/steps, from 0 to less than 1."""

    gather: Callable[[Tensor], Tensor] = _no_gather
    """Concatenate a tensor [B, …] of all processes to that of the whole batch, without gradient.

    If several processes share a batch, all other tensors of this class are this process's part of it.
    """


@dataclass(frozen=True)
class StepOutcome:
    """Result of one step."""

    loss: Tensor
    """Loss, a scalar with gradient."""

    weights: Tensor | None = None
    """Weight of each given label, [B], from 0 to 1; None for methods without weights."""

    losses: Tensor | None = None
    """Cross-entropy of each unmixed image with its given label, [B]; None if the method does not compute it."""

    differences: Tensor | None = None
    """Losses minus the moving average of their percentile, [B], from which the weights are computed."""


class Method:
    """A robust-learning method. Subclasses must implement `step`; the other defaults are those of plain training."""

    networks = 1
    """Number of networks that are trained."""

    evaluated = 1
    """Number of networks whose logits are added for evaluation."""

    views = 1
    """Number of independent augmentations of each image per step."""

    phases = 1
    """Maximum number of phases per epoch."""

    shares_batches = True
    """Whether several processes can share a batch."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        """Tensors to store in a checkpoint in addition to `parameters`; updated in place."""
        self.parameters: dict[str, nn.Parameter] = {}
        """Parameters trained in addition to the networks, without weight decay."""

    def weight_decay(self, configured: float) -> float:
        """Return the weight decay to use, given the configured `optimizer.weight_decay`."""
        return configured

    def prepare(self, network: nn.Module) -> None:
        """Modify a new network before training."""

    def begin_epoch(
        self, epoch: int, students: Sequence[ForwardPasses], losses_of: Callable[[ForwardPasses], Tensor], /
    ) -> None:
        """Prepare an epoch.

        `losses_of` returns a student's cross-entropy [N] on the training set without augmentation.
        """

    def plan(self, _epoch: int, order: Tensor, size: int, /) -> list[Tensor]:
        """Return the examples of each step, int64 [steps, B], for each phase of an epoch.

        `order` is a random permutation of the set, `size` the batch size. The result depends only on the arguments and
        on `state`.
        """
        steps = len(order) // size
        return [order[: steps * size].view(steps, size)]

    def count_steps(self, epochs: range, examples: int, size: int, parts: int, /) -> int:
        """Return the number of steps of some epochs, planned with the present `state`.

        A step has `parts` rows, of `size` images each, of what `plan` returns for a phase.
        """
        return len(epochs) * (examples // size // parts)

    def draw(self, _shape: tuple[int, int], _source: torch.Generator, /) -> dict[str, Tensor]:
        """Draw the random numbers of a whole epoch, each [steps, …].

        Methods that share batches between processes draw [steps, B], of which each process uses its columns.
        """
        return {}

    def report(self) -> dict[str, float]:
        """Return metrics of the epoch that has ended, for its row of metrics.jsonl."""
        return {}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the loss of one batch."""
        raise NotImplementedError


def mixed_cross_entropy(logits: Tensor, labels: Tensor, partner_labels: Tensor, share: Tensor) -> Tensor:
    """Return the cross-entropy [B] of logits [B, classes] with share·onehot(labels) + (1−share)·onehot(partner_labels)."""
    log_p = logits.log_softmax(dim=1)
    first = log_p.gather(1, labels[:, None]).squeeze(1)
    second = log_p.gather(1, partner_labels[:, None]).squeeze(1)
    return -(share * first + (1 - share) * second)


def mix_images(images: Tensor, partners: Tensor, share: Tensor) -> Tensor:
    """Return share·images + (1−share)·partners for images [B, C, H, W] and share [B]."""
    return torch.lerp(partners, images, share[:, None, None, None])
