"""Two-component Gaussian mixture of losses, fitted by expectation-maximization."""

import torch
from torch import Tensor

ROUNDS = 50
VARIANCE_FLOOR = 5e-4  # added to each variance; reg_covar of the DivideMix code


def clean_probability(losses: Tensor) -> Tensor:
    """Return the probability [N], float64, that each loss [N] belongs to the component with the smaller mean.

    Losses are scaled to [0, 1], and the fit starts from a split at 0.5. If all losses are equal, all probabilities are
    1.
    """
    x = losses.double()
    span = x.max() - x.min()
    if not span > 0:
        return torch.ones_like(x)
    x = (x - x.min()) / span
    high = (x > 0.5).double()
    responsibilities = torch.stack((1 - high, high))  # [2, N]
    for _ in range(ROUNDS):
        count = responsibilities.sum(dim=1)
        mean = (responsibilities @ x) / count
        variance = (responsibilities * (x - mean[:, None]) ** 2).sum(dim=1) / count + VARIANCE_FLOOR
        log_density = -0.5 * ((x - mean[:, None]) ** 2 / variance[:, None] + variance.log()[:, None])
        responsibilities = (log_density + (count / len(x)).log()[:, None]).softmax(dim=0)
    return responsibilities[mean.argmin()]
