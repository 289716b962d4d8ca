"""MentorNet: weights of examples by their loss, from a threshold, a self-paced threshold or a trained network.

Source: Jiang et al., "MentorNet", ICML 2018, and the `mentornet` function of the released MentorMix code
(google-research/mentormix/code/utils.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.exact import exact_fraction
from training.method_config import MentorNetConfig
from training.methods.balance import ClassBalance
from training.methods.clean_share import CleanShareEstimate
from training.methods.interface import Batch, ForwardPasses, Method, RunFacts, StepOutcome
from training.methods.mentornet_pd import MentorNetPD, closed_form
from training.methods.percentile_schedule import PercentileSchedule


def percentile(losses: Tensor, share: float) -> Tensor:
    """Return the nearest-rank percentile of losses [B], a scalar, as tfp.stats.percentile does by default.

    Ranks count from the largest loss, and a rank halfway between two integers is rounded to the even one.
    """
    rank = round((len(losses) - 1) * (1 - exact_fraction(share)))
    return losses.sort(descending=True).values[rank]


class Mentor:
    """Weights v of a batch, from losses ℓ and the moving average of their percentile; 1 during burn-in."""

    def __init__(self, config: MentorNetConfig, facts: RunFacts) -> None:
        """Build the mentor. Raises DataError if the weights of MentorNet-PD cannot be read."""
        self.config = config
        self.average = torch.zeros((), device=facts.device)
        self.percentile_schedule = PercentileSchedule(config, facts)
        given = None if config.loss_percentile == "auto" else config.loss_percentile
        self.clean_share = CleanShareEstimate(given, self.percentile_schedule.midway, facts.device)
        self.balance = ClassBalance(facts.classes, facts.device) if config.balance else None
        self.trained = MentorNetPD.load(Path(config.weights), facts.device) if config.mentor == "pd" else None
        self.state = {"average": self.average, **self.clean_share.state}
        if self.balance:
            self.state |= self.balance.state

    def weigh(self, losses: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Update the average with the losses [B] of a batch; return weights and differences, both [B], without
        gradient.

        A difference is the loss, minus the mean loss of its class if classes are balanced, minus the moving average.
        """
        losses = losses.detach()
        if self.balance:
            self.balance.update(batch.gather(losses), batch.gather(batch.labels))
            losses = self.balance.center(losses, batch.labels)
        share = self.percentile_schedule.percentile(batch, self.clean_share.value)
        decay = self.config.average_decay
        self.average.mul_(decay).add_(percentile(batch.gather(losses), share), alpha=1 - decay)
        differences = losses - self.average
        if self.percentile_schedule.burning_in(batch):
            return torch.ones_like(losses), differences
        if self.trained:
            return self.trained.weigh(losses, differences, batch.percent), differences
        if self.config.mentor == "pd-closed":
            return closed_form(differences, batch.percent), differences
        return (losses <= self.average).to(losses.dtype), differences


class MentoredMethod(Method):
    """A method whose examples are weighted by a mentor."""

    def __init__(self, config: MentorNetConfig, facts: RunFacts) -> None:
        super().__init__()
        self.mentor = Mentor(config, facts)
        self.state = dict(self.mentor.state)

    def begin_epoch(
        self,
        _epoch: int,
        _students: Sequence[ForwardPasses],
        _losses_of: Callable[[ForwardPasses], Tensor],
        /,
    ) -> None:
        """Update the estimate of the share of clean labels, if it is estimated."""
        self.mentor.clean_share.begin_epoch()

    def report(self) -> dict[str, float]:
        """Return the estimated share of clean labels, if it is estimated."""
        clean_share = self.mentor.clean_share
        return {} if clean_share.given is not None else {"clean_share": clean_share.value}


class MentorNet(MentoredMethod):
    """MentorNet: cross-entropy weighted by the mentor."""

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return Σ ℓ·v / B. It is not divided by Σ v, so few trusted labels make a small step."""
        [student] = students
        logits = student(batch.images)
        losses = cross_entropy(logits, batch.labels, reduction="none")
        self.mentor.clean_share.update(logits, batch)
        weights, differences = self.mentor.weigh(losses, batch)
        return StepOutcome((losses * weights).mean(), weights, losses, differences)
