"""Losses made comparable between classes: each less the running mean of its given class."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

DECAY = 0.9


class ClassBalance:
    """Running mean loss of each given class.

    A network that has learned little favors some classes whatever the image, so that a threshold on the plain loss
    selects classes, not images. State: decayed sums of losses and counts, float32 [2, classes].
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        self.sums = torch.zeros(2, classes, device=device)
        self.state = {"class_losses": self.sums}

    def update(self, losses: Tensor, labels: Tensor) -> None:
        """Take in the losses [B] and the given labels [B] of a whole batch."""
        member = one_hot(labels, self.classes).to(losses.dtype)
        # sums of products, since a matrix product would round the losses to TF32 on a GPU
        seen = torch.stack(((member * losses[:, None]).sum(dim=0), member.sum(dim=0)))
        self.sums.mul_(DECAY).add_(seen, alpha=1 - DECAY)

    def center(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Return losses [B] less the mean of the class of each label [B], all of which `update` has seen."""
        total, count = self.sums[:, labels]
        return losses - total / count
