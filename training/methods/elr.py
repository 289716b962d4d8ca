"""Early-learning regularization (Liu et al., NeurIPS 2020, equations 6 and 9, and its released code).

t_i ← β·t_i + (1 − β)·p_i; loss = cross-entropy + λ·mean log(1 − ⟨p_i, t_i⟩), where p is clamped to
[1e-4, 1 − 1e-4], and the p that is added to t is normalized, as in that code.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from training.method_config import ELRConfig
from training.methods.interface import Batch, ForwardPasses, Method, RunFacts, StepOutcome

CLAMP = 1e-4


class ELR(Method):
    """Early-learning regularization. State: running averages of predictions, float32 [N, classes]."""

    def __init__(self, config: ELRConfig, facts: RunFacts) -> None:
        super().__init__()
        self.config = config
        self.targets = torch.zeros(facts.examples, facts.classes, device=facts.device)
        self.state = {"targets": self.targets}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Update the running averages of these images, then return the loss."""
        [student] = students
        assert batch.index is not None
        logits = student(batch.images)
        losses = cross_entropy(logits, batch.labels, reduction="none")
        p = logits.softmax(dim=1).clamp(CLAMP, 1 - CLAMP)
        fresh = p.detach() / p.detach().sum(dim=1, keepdim=True)
        index, beta = batch.gather(batch.index), self.config.memory
        self.targets[index] = beta * self.targets[index] + (1 - beta) * batch.gather(fresh)
        agreement = (p * self.targets[batch.index]).sum(dim=1)
        return StepOutcome(losses.mean() + self.config.strength * (1 - agreement).log().mean(), losses=losses)
