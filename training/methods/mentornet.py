"""MentorNet, simplest form: trust the examples whose loss is below a moving percentile.

Jiang et al., "MentorNet", ICML 2018, and the `mentornet` function of the released MentorMix code
(google-research/mentormix/code/utils.py).
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.config import MentorNet as Config
from training.methods.interface import Batch, Outcome, Passes


def percentile(losses: Tensor, share: float) -> Tensor:
    """Return the nearest-rank percentile of losses [B], scalar, as tfp.stats.percentile does by default.

    The losses are ranked from the largest, and a rank halfway between two goes to the even one.
    """
    rank = round((len(losses) - 1) * (1.0 - share))
    return losses.sort(descending=True).values[rank]


class Threshold:
    """v = 1(ℓ ≤ moving average of the loss percentile); during burn-in v = 1."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.average = torch.zeros((), device=device)

    def weigh(self, losses: Tensor, percent: int) -> Tensor:
        """Update the average with the losses [B] of a batch, return their weights [B]; no gradient flows."""
        losses = losses.detach()
        decay = self.config.average_decay
        self.average.mul_(decay).add_(percentile(losses, self.config.loss_percentile), alpha=1 - decay)
        if percent < self.config.burn_in - 1:
            return torch.ones_like(losses)
        return (losses <= self.average).to(losses.dtype)


class MentorNet:
    """Cross-entropy, weighted by the threshold."""

    decays_weights = True

    def __init__(self, config: Config, device: torch.device) -> None:
        self.mentor = Threshold(config, device)
        self.state = {"average": self.mentor.average}

    def draw(self, _shape: tuple[int, int], _source: torch.Generator, /) -> dict[str, Tensor]:
        """Nothing is random."""
        return {}

    def step(self, student: Passes, batch: Batch) -> Outcome:
        """mean(ℓ·v) over the batch, not over Σv: few trusted labels make a small step."""
        losses = cross_entropy(student(batch.images), batch.labels, reduction="none")
        weights = self.mentor.weigh(losses, batch.percent)
        return Outcome((losses * weights).mean(), weights)
