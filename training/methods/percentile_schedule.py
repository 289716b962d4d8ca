"""Burn-in and loss percentile of a mentor as functions of training progress."""

from training.method_config import MentorNetConfig
from training.methods.interface import Batch, RunFacts


class PercentileSchedule:
    """The end of burn-in, and the loss percentile of each step."""

    def __init__(self, config: MentorNetConfig, facts: RunFacts) -> None:
        self.config = config
        released = max(0, config.burn_in_percent - 1) / 100
        self.start = min(1.0, max(released, config.burn_in_epochs / facts.epochs))
        """Share of training at which burn-in ends. The ramp takes half of the rest."""
        self.midway = self.start + (1 - self.start) / 4
        """Share of training at which half of the ramp is done."""

    def burning_in(self, batch: Batch) -> bool:
        """Return whether the step is in burn-in, in which all weights are 1."""
        return batch.percent < self.config.burn_in_percent - 1 or batch.epoch < self.config.burn_in_epochs

    def percentile(self, batch: Batch, clean_share: float) -> float:
        """Return the loss percentile of a step, from 0 to 1, given the share p of clean labels.

        released: p. ramp: 1 during burn-in, then linearly down to p over half of the remaining steps (R(T) of
        Co-teaching). self_paced: p during burn-in, then linearly up to 1 at the end of training.
        """
        if self.config.mentor == "self_paced":
            done = max(0, batch.percent - self.config.burn_in_percent) / max(
                1, 99 - self.config.burn_in_percent
            )
            return clean_share + (1 - clean_share) * done
        if self.config.schedule == "released":
            return clean_share
        if self.burning_in(batch):
            return 1.0
        done = min(1.0, 2 * (batch.progress - self.start) / (1 - self.start))
        return 1.0 - (1.0 - clean_share) * max(0.0, done)
