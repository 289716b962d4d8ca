"""S-model: a noise adaptation layer on top of the network (Goldberger & Ben-Reuven, ICLR 2017, section 3).

p(label = j | x) = Σ_i θ_ij · p(class = i | x), where row i of θ is softmax(b_i). In this "simple" model the
noise depends only on the true class. Evaluation uses the network without the layer.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import nll_loss

from training.method_config import SModelConfig
from training.methods.interface import Batch, ForwardPasses, Method, RunFacts, StepOutcome


class SModel(Method):
    """Cross-entropy after a learned label transition matrix."""

    def __init__(self, config: SModelConfig, facts: RunFacts) -> None:
        """Initialize b_ij = log((1 − ε)·1[i = j] + ε/(classes − 1)·1[i ≠ j]), the paper's initialization without a
        first network."""
        super().__init__()
        noise, classes = config.initial_noise, facts.classes
        start = torch.full((classes, classes), math.log(noise / max(1, classes - 1)), device=facts.device)
        start.fill_diagonal_(math.log(1 - noise))
        self.transition = nn.Parameter(start)
        self.parameters = {"transition": self.transition}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the mean of −log Σ_i θ_{i,label}·p_i, computed in log space."""
        [student] = students
        log_p = student(batch.images).log_softmax(dim=1)
        log_theta = self.transition.log_softmax(dim=1)
        adapted = (log_p[:, :, None] + log_theta[None]).logsumexp(dim=1)
        plain = nll_loss(log_p.detach(), batch.labels, reduction="none")
        return StepOutcome(nll_loss(adapted, batch.labels), losses=plain)
