"""Plain cross-entropy on the given labels: the baseline that memorises."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.methods.interface import Batch, Outcome, Passes


class Vanilla:
    """Empirical risk minimisation."""

    decays_weights = True

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def draw(self, _shape: tuple[int, int], _source: torch.Generator, /) -> dict[str, Tensor]:
        """Nothing is random."""
        return {}

    def step(self, student: Passes, batch: Batch) -> Outcome:
        """Mean cross-entropy."""
        return Outcome(cross_entropy(student(batch.images), batch.labels))
