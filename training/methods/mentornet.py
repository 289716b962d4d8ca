"""MentorNet: weights for the examples by their loss, with a threshold, self-paced, or as the trained network says.

Jiang et al., "MentorNet", ICML 2018, and the `mentornet` function of the released MentorMix code
(google-research/mentormix/code/utils.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.method_config import MentorNet as Config
from training.methods.interface import Batch, Method, Outcome, Passes
from training.methods.mentornet_pd import MentorNetPD


def percentile(losses: Tensor, share: float) -> Tensor:
    """Return the nearest-rank percentile of losses [B], scalar, as tfp.stats.percentile does by default.

    The losses are ranked from the largest, and a rank halfway between two goes to the even one.
    """
    rank = round((len(losses) - 1) * (1.0 - share))
    return losses.sort(descending=True).values[rank]


class Mentor:
    """v from ℓ and its distance to the moving average of the loss percentile; during burn-in v = 1."""

    def __init__(self, config: Config, device: torch.device) -> None:
        """Raises DataError if the weights of MentorNet-PD cannot be read."""
        self.config = config
        self.average = torch.zeros((), device=device)
        self.trained = MentorNetPD.load(Path(config.weights), device) if config.mentor == "pd" else None

    def weigh(self, losses: Tensor, percent: int, gather: Callable[[Tensor], Tensor]) -> Tensor:
        """Update the average with the losses [B] of a batch, return their weights [B]; no gradient flows."""
        losses = losses.detach()
        decay, burn_in = self.config.average_decay, self.config.burn_in
        self.average.mul_(decay).add_(percentile(gather(losses), self._share(percent)), alpha=1 - decay)
        if percent < burn_in - 1:
            return torch.ones_like(losses)
        if self.trained:
            return self.trained.weigh(losses, self.difference(losses), percent)
        return (losses <= self.average).to(losses.dtype)

    def difference(self, losses: Tensor) -> Tensor:
        """Return ℓ less the average as it is now, [B]."""
        return losses.detach() - self.average

    def _share(self, percent: int) -> float:
        """The percentile p, or, self-paced, p + (1 − p)·t, where t is the share of training after burn-in."""
        share = self.config.loss_percentile
        if self.config.mentor != "self_paced":
            return share
        done = max(0, percent - self.config.burn_in) / max(1, 99 - self.config.burn_in)
        return share + (1 - share) * done


class MentorNet(Method):
    """Cross-entropy, weighted by the mentor."""

    def __init__(self, config: Config, device: torch.device) -> None:
        super().__init__()
        self.mentor = Mentor(config, device)
        self.state = {"average": self.mentor.average}

    def step(self, students: Sequence[Passes], batch: Batch, /) -> Outcome:
        """mean(ℓ·v) over the batch, not over Σv: few trusted labels make a small step."""
        [student] = students
        losses = cross_entropy(student(batch.images), batch.labels, reduction="none")
        weights = self.mentor.weigh(losses, batch.percent, batch.gather)
        return Outcome((losses * weights).mean(), weights, losses, self.mentor.difference(losses))
