"""mixup (Zhang et al., ICLR 2018, equation 2), with one λ per image."""

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
    """mixup: training on convex combinations of random pairs of a batch."""

    def __init__(self, config: MixupConfig) -> None:
        super().__init__()
        self.config = config

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """Draw λ ~ Beta(α, α), and partners as a random permutation: the order of uniform numbers."""
        lam = draw_beta(self.config.alpha, shape, source)
        partner = torch.rand(shape, generator=source, device=source.device).argsort(dim=1)
        return {"lam": lam, "partner": partner}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the mean cross-entropy of the mixed batch with the mixed labels."""
        [student] = students
        lam, partner = batch.draws["lam"], batch.draws["partner"]
        mixed = mix_images(batch.images, batch.gather(batch.images)[partner], lam)
        partner_labels = batch.gather(batch.labels)[partner]
        return StepOutcome(mixed_cross_entropy(student(mixed), batch.labels, partner_labels, lam).mean())
