"""Generalized cross-entropy (Zhang & Sabuncu, NeurIPS 2018, equation 6): (1 − p_y^q)/q."""

from collections.abc import Sequence

from torch.nn.functional import cross_entropy

from training.method_config import GCE as Config
from training.methods.interface import Batch, Method, Outcome, Passes


class GCE(Method):
    """Between cross-entropy and mean absolute error. Without the truncation of section 3.3."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def step(self, students: Sequence[Passes], batch: Batch, /) -> Outcome:
        """Mean of (1 − p_y^q)/q, where p_y^q = exp(−q·ℓ)."""
        [student] = students
        losses = cross_entropy(student(batch.images), batch.labels, reduction="none")
        return Outcome((-(-self.config.q * losses).expm1() / self.config.q).mean(), losses=losses)
