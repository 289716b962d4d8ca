"""The share of clean labels in the training set: configured, or estimated during the first part of training.

The estimate uses anchor points (Liu & Tao, IEEE TPAMI 2016; Patrini et al., CVPR 2017): if the network is right about
the images for which its probability is largest, the share of their labels that agree with it is the share of right
labels. In each batch, the tenth of the images with the largest probability counts, before the network is trained on the
batch.
"""

import torch
from torch import Tensor

from training.methods.interface import Batch

ANCHOR_FRACTION = 10  # one image in ten counts
EPOCH_DECAY = 0.5  # weight of earlier epochs relative to the latest


class CleanShareEstimate:
    """The configured share of clean labels, or its estimate.

    State of an estimate: float64 [2, 2], number of anchor images that agree with their label and number of anchor
    images, in the current epoch and in earlier epochs.
    """

    def __init__(self, given: float | None, until: float, device: torch.device) -> None:
        """`given`: the share, or None to estimate it.

        `until`: progress of training, 0 to 1, at which the estimate is frozen.
        """
        self.given, self.until = given, until
        self.counts = torch.zeros(2, 2, dtype=torch.float64, device=device)
        self.state = {} if given is not None else {"surest": self.counts}
        self._value = given

    @property
    def value(self) -> float:
        """The share, above 0 and at most 1; 1 before the first estimate. Waits for the GPU once per epoch."""
        if self._value is None:
            agreeing, count = self.counts[1].tolist()
            # count at least one label, so that the share is above 0
            self._value = max(agreeing, 1.0) / count if count else 1.0
        return self._value

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Compare logits [B, classes] with the given labels of the batch."""
        if self.given is not None or batch.progress >= self.until:
            return
        confidence, predicted = logits.detach().softmax(dim=1).max(dim=1)
        agrees = batch.gather((predicted == batch.labels).double())
        anchors = batch.gather(confidence).topk(max(1, len(agrees) // ANCHOR_FRACTION)).indices
        self.counts[0, 0] += agrees[anchors].sum()
        self.counts[0, 1] += len(anchors)

    def begin_epoch(self) -> None:
        """Update the estimate at the start of an epoch, from the counts of earlier epochs."""
        if self.given is None and bool(self.counts[0, 1]):
            self.counts[1].mul_(EPOCH_DECAY).add_(self.counts[0])
            self.counts[0].zero_()
            self._value = None
