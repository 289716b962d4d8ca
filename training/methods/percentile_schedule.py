"""The percentile of the loss that a mentor's threshold follows, as a function of the progress of training."""

from training.method_config import MentorNetConfig
from training.methods.interface import Batch, RunFacts


class PercentileSchedule:
    """Burn-in, then the schedule of the percentile."""

    def __init__(self, config: MentorNetConfig, facts: RunFacts) -> None:
        self.config = config
        released = max(0, config.burn_in - 1) / 100
        self.start = min(1.0, max(released, config.burn_in_epochs / facts.epochs))
        """Share of training at which burn-in ends; what is left of it is halved for the ramp."""
        self.midway = self.start + (1 - self.start) / 4
        """Share of training at which half of the ramp is done."""

    def burning_in(self, batch: Batch) -> bool:
        """Tell whether all weights are 1 still."""
        return batch.percent < self.config.burn_in - 1 or batch.epoch < self.config.burn_in_epochs

    def share(self, batch: Batch, clean_share: float) -> float:
        """Return the percentile of a step, in [0, 1], whose final value is p, the share of clean labels.

        released: p. ramp: 1 during burn-in, then down to p in a straight line over half of the steps that remain
        (R(T) of Co-teaching). self_paced: p during burn-in, then up to 1 at the end of training.
        """
        if self.config.mentor == "self_paced":
            done = max(0, batch.percent - self.config.burn_in) / max(1, 99 - self.config.burn_in)
            return clean_share + (1 - clean_share) * done
        if self.config.schedule == "released":
            return clean_share
        if self.burning_in(batch):
            return 1.0
        done = min(1.0, 2 * (batch.progress - self.start) / (1 - self.start))
        return 1.0 - (1.0 - clean_share) * max(0.0, done)
