"""MentorNet: weights for the examples by their loss, with a threshold, self-paced, or as the trained network says.

Jiang et al., "MentorNet", ICML 2018, and the `mentornet` function of the released MentorMix code
(google-research/mentormix/code/utils.py).
"""

import warnings
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

FEWEST = 500  # steps of a run below which a mentor has little to judge by


def percentile(losses: Tensor, share: float) -> Tensor:
    """Return the nearest-rank percentile of losses [B], scalar, as tfp.stats.percentile does by default.

    The losses are ranked from the largest, and a rank halfway between two goes to the even one.
    """
    rank = round((len(losses) - 1) * (1 - exact_fraction(share)))
    return losses.sort(descending=True).values[rank]


class Mentor:
    """v from ℓ and its distance to the moving average of the loss percentile; during burn-in v = 1."""

    def __init__(self, config: MentorNetConfig, facts: RunFacts) -> None:
        """Raises DataError if the weights of MentorNet-PD cannot be read."""
        if facts.steps < FEWEST:
            warnings.warn(
                f"{facts.steps} steps are few for a mentor: below {FEWEST} the network hardly learns which labels to "
                "trust; raise epochs or lower batch_size",
                stacklevel=2,
            )
        self.config = config
        self.average = torch.zeros((), device=facts.device)
        self.pace = PercentileSchedule(config, facts)
        given = None if config.loss_percentile == "auto" else config.loss_percentile
        self.clean_share = CleanShareEstimate(given, self.pace.midway, facts.device)
        self.balance = ClassBalance(facts.classes, facts.device) if config.balance else None
        self.trained = MentorNetPD.load(Path(config.weights), facts.device) if config.mentor == "pd" else None
        self.state = {"average": self.average, **self.clean_share.state}
        if self.balance:
            self.state |= self.balance.state

    def weigh(self, losses: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Update the average with the losses [B] of a batch; return their weights and differences, both [B].

        The difference of a loss is what the weight depends on: the loss, less the mean of its class where classes are
        balanced, less the moving average. No gradient flows.
        """
        losses = losses.detach()
        if self.balance:
            self.balance.update(batch.gather(losses), batch.gather(batch.labels))
            losses = self.balance.center(losses, batch.labels)
        share = self.pace.share(batch, self.clean_share.value)
        decay = self.config.average_decay
        self.average.mul_(decay).add_(percentile(batch.gather(losses), share), alpha=1 - decay)
        differences = losses - self.average
        if self.pace.burning_in(batch):
            return torch.ones_like(losses), differences
        if self.trained:
            return self.trained.weigh(losses, differences, batch.percent), differences
        if self.config.mentor == "pd-closed":
            return closed_form(differences, batch.percent), differences
        return (losses <= self.average).to(losses.dtype), differences

    def report(self) -> dict[str, float]:
        """Return the estimated share of clean labels, if it is estimated."""
        return {} if self.clean_share.given is not None else {"clean_share": self.clean_share.value}


class MentorNet(Method):
    """Cross-entropy, weighted by the mentor."""

    def __init__(self, config: MentorNetConfig, facts: RunFacts) -> None:
        super().__init__()
        self.mentor = Mentor(config, facts)
        self.state = self.mentor.state

    def begin_epoch(
        self, _epoch: int, _students: Sequence[ForwardPasses], _survey: Callable[[ForwardPasses], Tensor], /
    ) -> None:
        """Renew the estimate of the share of clean labels, if there is one."""
        self.mentor.clean_share.begin_epoch()

    def report(self) -> dict[str, float]:
        """Return the estimated share of clean labels, if it is estimated."""
        return self.mentor.report()

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """mean(ℓ·v) over the batch, not over Σv: few trusted labels make a small step."""
        [student] = students
        logits = student(batch.images)
        losses = cross_entropy(logits, batch.labels, reduction="none")
        self.mentor.clean_share.watch(logits, batch)
        weights, differences = self.mentor.weigh(losses, batch)
        return StepOutcome((losses * weights).mean(), weights, losses, differences)
