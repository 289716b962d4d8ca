"""mixup (Zhang et al., ICLR 2018, equation 2), with its own λ for each image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.method_config import MixupConfig
from training.methods.interface import (
    Batch,
    ForwardPasses,
    Method,
    StepOutcome,
    mix_images,
    mixed_cross_entropy,
)
from training.randomness import draw_beta


class Mixup(Method):
    """Train on convex combinations of random pairs of a batch."""

    def __init__(self, config: MixupConfig) -> None:
        super().__init__()
        self.config = config

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """λ ~ Beta(α, α), and a partner: the order of uniform numbers is a random permutation."""
        lam = draw_beta(self.config.alpha, shape, source)
        partner = torch.rand(shape, generator=source, device=source.device).argsort(dim=1)
        return {"lam": lam, "partner": partner}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Mean cross-entropy of the mixed batch against the mixed labels."""
        [student] = students
        lam, partner = batch.draws["lam"], batch.draws["partner"]
        mixed = mix_images(batch.images, batch.gather(batch.images)[partner], lam)
        other = batch.gather(batch.labels)[partner]
        return StepOutcome(mixed_cross_entropy(student(mixed), batch.labels, other, lam).mean())
