"""Generalized cross-entropy (Zhang & Sabuncu, NeurIPS 2018, equation 6): (1 − p_y^q)/q."""

from collections.abc import Sequence

from torch.nn.functional import cross_entropy

from training.method_config import GCEConfig
from training.methods.interface import Batch, ForwardPasses, Method, StepOutcome


class GCE(Method):
    """Generalized cross-entropy without the truncation of section 3.3."""

    def __init__(self, config: GCEConfig) -> None:
        super().__init__()
        self.config = config

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the mean of (1 − p_y^q)/q, where p_y^q = exp(−q·ℓ)."""
        [student] = students
        losses = cross_entropy(student(batch.images), batch.labels, reduction="none")
        return StepOutcome((-(-self.config.q * losses).expm1() / self.config.q).mean(), losses=losses)
