"""Co-teaching (Han et al., NeurIPS 2018, Algorithm 1): each network learns from what the other finds easy."""

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor
from torch.nn.functional import cross_entropy

from training.exact import exact_fraction
from training.method_config import CoTeachingConfig
from training.methods.interface import Batch, ForwardPasses, Method, StepOutcome


class CoTeaching(Method):
    """Two networks; the first is evaluated, as the paper reports single networks."""

    networks = 2

    def __init__(self, config: CoTeachingConfig) -> None:
        super().__init__()
        self.config = config

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Sum of both networks' mean losses over the R(T)·B images of smallest loss to the other."""
        one, other = (cross_entropy(s(batch.images), batch.labels, reduction="none") for s in students)
        picks_of_one, picks_of_other = self._easy(one, batch), self._easy(other, batch)
        loss = self._mean(one, picks_of_other, batch) + self._mean(other, picks_of_one, batch)
        return StepOutcome(loss, picks_of_one, one)

    def _easy(self, losses: Tensor, batch: Batch) -> Tensor:
        """1 for the R(T)·B images of smallest loss in the whole batch, R(T) = 1 − τ·min(T/T_k, 1), else 0."""
        everyone = batch.gather(losses.detach())
        threshold = everyone.sort().values[self.remembered(batch.epoch, len(everyone)) - 1]
        return (losses.detach() <= threshold).to(losses.dtype)

    def remembered(self, epoch: int, size: int) -> int:
        """Return how many images of a batch of `size` are learned from: the whole part of R(T)·B, at least 1."""
        risen = min(epoch / exact_fraction(self.config.gradual), Fraction(1))
        left_out = exact_fraction(self.config.forget_rate) * risen
        return max(1, int((1 - left_out) * size))

    @staticmethod
    def _mean(losses: Tensor, picks: Tensor, batch: Batch) -> Tensor:
        """Mean over what was picked in the whole batch (this process's part of it, times their number)."""
        return (losses * picks).mean() / batch.gather(picks).mean()
