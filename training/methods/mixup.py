"""mixup (Zhang et al., ICLR 2018, equation 2), with its own λ for each image."""

import torch
from torch import Tensor

from training.config import Mixup as Config
from training.methods.interface import Batch, Outcome, Passes, mix_images, mixed_cross_entropy
from training.randomness import beta


class Mixup:
    """Train on convex combinations of random pairs of a batch."""

    decays_weights = True

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state: dict[str, Tensor] = {}

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """λ ~ Beta(α, α), and a partner: the order of uniform numbers is a random permutation."""
        lam = beta(self.config.alpha, shape, source)
        partner = torch.rand(shape, generator=source, device=source.device).argsort(dim=1)
        return {"lam": lam, "partner": partner}

    def step(self, student: Passes, batch: Batch) -> Outcome:
        """Mean cross-entropy of the mixed batch against the mixed labels."""
        lam, partner = batch.draws["lam"], batch.draws["partner"]
        mixed = mix_images(batch.images, batch.images[partner], lam)
        losses = mixed_cross_entropy(student(mixed), batch.labels, batch.labels[partner], lam)
        return Outcome(losses.mean())
