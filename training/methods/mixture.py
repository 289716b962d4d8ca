"""A mixture of two Gaussians on a line, by expectation-maximization: which losses are those of clean labels."""

import torch
from torch import Tensor

ROUNDS = 50
LEAST_VARIANCE = 5e-4  # added to each variance, as the DivideMix code has its library do


def clean_probability(losses: Tensor) -> Tensor:
    """Return the probability [N], float64, that each loss belongs to the component of smaller mean.

    The losses [N] are scaled to [0, 1] first; where all are equal, everything counts as clean. Starts from a
    split at the middle of the range.
    """
    x = losses.double()
    span = x.max() - x.min()
    if not span > 0:
        return torch.ones_like(x)
    x = (x - x.min()) / span
    high = (x > 0.5).double()
    share_of = torch.stack((1 - high, high))  # [2, N]
    for _ in range(ROUNDS):
        count = share_of.sum(dim=1)
        mean = (share_of @ x) / count
        variance = (share_of * (x - mean[:, None]) ** 2).sum(dim=1) / count + LEAST_VARIANCE
        log_density = -0.5 * ((x - mean[:, None]) ** 2 / variance[:, None] + variance.log()[:, None])
        share_of = (log_density + (count / len(x)).log()[:, None]).softmax(dim=0)
    return share_of[mean.argmin()]
