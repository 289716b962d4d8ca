"""Co-teaching (Han et al., NeurIPS 2018, Algorithm 1): each network is trained on the small-loss images of the other."""

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor
from torch.nn.functional import cross_entropy

from training.exact import exact_fraction
from training.method_config import CoTeachingConfig
from training.methods.interface import Batch, ForwardPasses, Method, StepOutcome


class CoTeaching(Method):
    """Co-teaching of two networks. Only the first is evaluated, as in the paper."""

    networks = 2

    def __init__(self, config: CoTeachingConfig) -> None:
        super().__init__()
        self.config = config

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the sum of both networks' mean losses over the R(T)·B images with the smallest loss of the other
        network."""
        first, second = (cross_entropy(s(batch.images), batch.labels, reduction="none") for s in students)
        first_picks, second_picks = self._small_loss(first, batch), self._small_loss(second, batch)
        loss = self._mean(first, second_picks, batch) + self._mean(second, first_picks, batch)
        return StepOutcome(loss, first_picks, first)

    def _small_loss(self, losses: Tensor, batch: Batch) -> Tensor:
        """Return 1 for the R(T)·B images of smallest loss in the whole batch, R(T) = 1 − τ·min(T/T_k, 1), else 0."""
        all_losses = batch.gather(losses.detach())
        threshold = all_losses.sort().values[self.kept_count(batch.epoch, len(all_losses)) - 1]
        return (losses.detach() <= threshold).to(losses.dtype)

    def kept_count(self, epoch: int, size: int) -> int:
        """Return the number of images of a batch of `size` that are trained on: the integer part of R(T)·B, at least 1."""
        ramp = min(epoch / exact_fraction(self.config.ramp_epochs), Fraction(1))
        left_out = exact_fraction(self.config.forget_rate) * ramp
        return max(1, int((1 - left_out) * size))

    @staticmethod
    def _mean(losses: Tensor, picks: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss over the picked images of the whole batch, as this process's part of it."""
        return (losses * picks).mean() / batch.gather(picks).mean()
