"""MentorMix (Jiang et al., ICML 2020, Algorithm 1) as the released code computes it.

google-research/mentormix/code/cifar_train_mentormix.py and utils.py; where the code departs from the paper
(the hard switch of λ, no weight decay with the second weighting) the code is the default.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.method_config import MentorMixConfig
from training.methods.interface import (
    Batch,
    ForwardPasses,
    Method,
    RunFacts,
    StepOutcome,
    mix_images,
    mixed_cross_entropy,
)
from training.methods.mentornet import Mentor
from training.randomness import draw_beta

FINE = 2.0**48  # steps into which probability one is divided


def draw_partners(weights: Tensor, uniform: Tensor) -> Tensor:
    """Draw j ~ Categorical(softmax(v)) for each uniform number in [0, 1), by inverting the distribution.

    weights [B], uniform [B] to indices int64 [B], with replacement.
    """
    # in whole numbers, since a GPU adds up floats in no fixed order
    edges = (weights.double().softmax(dim=0) * FINE).round().long().cumsum(dim=0)
    return torch.searchsorted(edges, (uniform.double() * edges[-1]).long(), right=True)


def mixing_share(lam: Tensor, weights: Tensor, mixing: str) -> Tensor:
    """Return the share [B] of each image in its mixture: large where it is trusted, small where not."""
    large = torch.maximum(lam, 1 - lam)
    if mixing == "hard":
        return torch.where(weights >= 0.5, large, 1 - large)
    return weights * large + (1 - weights) * (1 - large)


class MentorMix(Method):
    """Weigh, draw trusted partners, mix, and perhaps weigh again."""

    def __init__(self, config: MentorMixConfig, facts: RunFacts) -> None:
        super().__init__()
        self.config = config
        self.mentor = Mentor(config, facts)
        self.second_mentor = Mentor(config, facts) if config.second_reweight else None
        self.state = dict(self.mentor.state)
        if self.second_mentor:
            self.state["second_average"] = self.second_mentor.average

    def weight_decay(self, configured: float) -> float:
        """None with the second weighting, as in the released code."""
        return 0.0 if self.config.second_reweight else configured

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """λ ~ Beta(α, α) and uniform numbers for the partners."""
        lam = draw_beta(self.config.alpha, shape, source)
        return {"lam": lam, "uniform": torch.rand(shape, generator=source, device=source.device)}

    def begin_epoch(
        self, _epoch: int, _students: Sequence[ForwardPasses], _survey: Callable[[ForwardPasses], Tensor], /
    ) -> None:
        """Renew the estimate of the share of clean labels, if there is one."""
        self.mentor.clean_share.begin_epoch()

    def report(self) -> dict[str, float]:
        """Return the estimated share of clean labels, if it is estimated."""
        return self.mentor.report()

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Mean loss of the mixed batch, over B also when it is weighed again."""
        [student] = students
        logits = student.preview(batch.images)
        losses = cross_entropy(logits, batch.labels, reduction="none")
        self.mentor.clean_share.watch(logits, batch)
        weights, differences = self.mentor.weigh(losses, batch)
        partner = draw_partners(batch.gather(weights), batch.draws["uniform"])
        share = mixing_share(batch.draws["lam"], weights, self.config.mixing)

        mixed = mix_images(batch.images, batch.gather(batch.images)[partner], share)
        other = batch.gather(batch.labels)[partner]
        mixed_losses = mixed_cross_entropy(student(mixed), batch.labels, other, share)
        if self.second_mentor:
            again, _ = self.second_mentor.weigh(mixed_losses, batch)
            mixed_losses = mixed_losses * again
        return StepOutcome(mixed_losses.mean(), weights, losses, differences)
