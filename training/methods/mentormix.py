"""MentorMix (Jiang et al., ICML 2020, Algorithm 1) as the released code computes it.

Source: google-research/mentormix/code/cifar_train_mentormix.py and utils.py. Where the code differs from the paper (the
hard switch of λ, no weight decay with the second weighting), the code is the default.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.method_config import MentorMixConfig
from training.methods.interface import (
    Batch,
    ForwardPasses,
    RunFacts,
    StepOutcome,
    mix_images,
    mixed_cross_entropy,
)
from training.methods.mentornet import Mentor, MentoredMethod
from training.randomness import draw_beta

RESOLUTION = 2.0**48  # units of probability 1


def draw_partners(weights: Tensor, uniform: Tensor) -> Tensor:
    """Draw j ~ Categorical(softmax(v)) with replacement, by inverting the distribution.

    Takes weights v [B] and uniform numbers [B] in [0, 1); returns indices int64 [B].
    """
    # integers, since the sum of floats on a GPU is not deterministic
    # a network that has diverged gives NaN; the end of the epoch reports it
    edges = (weights.double().nan_to_num(0.0).softmax(dim=0) * RESOLUTION).round().long().cumsum(dim=0)
    return torch.searchsorted(edges, (uniform.double() * edges[-1]).long(), right=True)


def mixing_share(lam: Tensor, weights: Tensor, mixing: str) -> Tensor:
    """Return the share [B] of each image in its mixture: at least 0.5 for trusted labels (`mixing=hard`)."""
    large = torch.maximum(lam, 1 - lam)
    if mixing == "hard":
        return torch.where(weights >= 0.5, large, 1 - large)
    return weights * large + (1 - weights) * (1 - large)


class MentorMix(MentoredMethod):
    """MentorMix: weigh examples, draw trusted partners, mix, and optionally weigh again."""

    def __init__(self, config: MentorMixConfig, facts: RunFacts) -> None:
        super().__init__(config, facts)
        self.config = config
        self.second_mentor = Mentor(config, facts) if config.second_reweight else None
        if self.second_mentor:
            self.state["second_average"] = self.second_mentor.average

    def weight_decay(self, configured: float) -> float:
        """Return 0 with the second weighting, as in the released code, else `configured`."""
        return 0.0 if self.config.second_reweight else configured

    def draw(self, shape: tuple[int, int], source: torch.Generator, /) -> dict[str, Tensor]:
        """Draw λ ~ Beta(α, α), and uniform numbers for the partners."""
        lam = draw_beta(self.config.alpha, shape, source)
        return {"lam": lam, "uniform": torch.rand(shape, generator=source, device=source.device)}

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the mean over the batch of the mixed losses, each times its second weight if there is one (not divided by
        the sum of weights)."""
        [student] = students
        logits = student.preview(batch.images)
        losses = cross_entropy(logits, batch.labels, reduction="none")
        self.mentor.clean_share.update(logits, batch)
        weights, differences = self.mentor.weigh(losses, batch)
        partner = draw_partners(batch.gather(weights), batch.draws["uniform"])
        share = mixing_share(batch.draws["lam"], weights, self.config.mixing)

        mixed = mix_images(batch.images, batch.gather(batch.images)[partner], share)
        partner_labels = batch.gather(batch.labels)[partner]
        mixed_losses = mixed_cross_entropy(student(mixed), batch.labels, partner_labels, share)
        if self.second_mentor:
            second_weights, _ = self.second_mentor.weigh(mixed_losses, batch)
            mixed_losses = mixed_losses * second_weights
        return StepOutcome(mixed_losses.mean(), weights, losses, differences)
