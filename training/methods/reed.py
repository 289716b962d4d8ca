"""Bootstrapping (Reed et al., "Training deep neural networks on noisy labels with bootstrapping", ICLR 2015 workshop).

Soft, equation 6: −Σ_k [β·t_k + (1 − β)·q_k]·log q_k. Hard, equation 7: the same with 1[k = argmax q] for q_k.
"""

from collections.abc import Sequence

from torch.nn.functional import nll_loss

from training.method_config import ReedConfig
from training.methods.interface import Batch, ForwardPasses, Method, StepOutcome


class Reed(Method):
    """Cross-entropy against a mixture of the given label and the network's prediction."""

    def __init__(self, config: ReedConfig) -> None:
        super().__init__()
        self.config = config

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the mean of equation 6 or 7. As in the paper, gradient flows through q."""
        [student] = students
        log_q = student(batch.images).log_softmax(dim=1)
        given = nll_loss(log_q, batch.labels, reduction="none")
        soft = self.config.variant == "soft"
        own = -(log_q.exp() * log_q).sum(dim=1) if soft else -log_q.max(dim=1).values
        beta = self.config.beta
        return StepOutcome((beta * given + (1 - beta) * own).mean(), losses=given)
