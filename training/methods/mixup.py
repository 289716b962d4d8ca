"""mixup (Zhang et al., ICLR 2018, equation 2), with its own λ for each image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.method_config import Mixup as Config
from training.methods.interface import Batch, Method, Outcome, Passes, mix_images, mixed_cross_entropy
from training.randomness import beta


class Mixup(Method):
    """Train on convex combinations of random pairs of a batch."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """λ ~ Beta(α, α), and a partner: the order of uniform numbers is a random permutation."""
        lam = beta(self.config.alpha, shape, source)
        partner = torch.rand(shape, generator=source, device=source.device).argsort(dim=1)
        return {"lam": lam, "partner": partner}

    def step(self, students: Sequence[Passes], batch: Batch, /) -> Outcome:
        """Mean cross-entropy of the mixed batch against the mixed labels."""
        [student] = students
        lam, partner = batch.draws["lam"], batch.draws["partner"]
        mixed = mix_images(batch.images, batch.gather(batch.images)[partner], lam)
        other = batch.gather(batch.labels)[partner]
        return Outcome(mixed_cross_entropy(student(mixed), batch.labels, other, lam).mean())
