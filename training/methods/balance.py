"""Losses centered by class: the running mean loss of the given class is subtracted."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

DECAY = 0.9


class ClassBalance:
    """Running mean loss of each given class.

    Early in training a network favors some classes for all images, so that a threshold on the loss would select classes
    instead of images. State: decayed sums of losses and counts, float32 [2, classes].
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        self.sums = torch.zeros(2, classes, device=device)
        self.state = {"class_losses": self.sums}

    def update(self, losses: Tensor, labels: Tensor) -> None:
        """Add the losses [B] and the given labels [B] of a whole batch."""
        member = one_hot(labels, self.classes).to(losses.dtype)
        # not a matrix product, which would round losses to TF32 on a GPU
        batch_sums = torch.stack(((member * losses[:, None]).sum(dim=0), member.sum(dim=0)))
        self.sums.mul_(DECAY).add_(batch_sums, alpha=1 - DECAY)

    def center(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Return losses [B] minus the mean of the class of each label [B]; `update` must have seen these classes."""
        total, count = self.sums[:, labels]
        return losses - total / count
