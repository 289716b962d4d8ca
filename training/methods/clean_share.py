"""The share of clean labels in the training set: given, or estimated during the first part of training.

The labels of the images that a network is most sure of agree with it as often as labels are right, if it is right about
these images itself (anchor points: Liu & Tao, IEEE TPAMI 2016; Patrini et al., CVPR 2017). Of each batch the tenth with
the largest probabilities counts, before the network learns from that batch.
"""

import torch
from torch import Tensor

from training.methods.interface import Batch

SUREST = 10  # one image in so many
MEMORY = 0.5  # weight of the epochs before against that of the latest


class CleanShareEstimate:
    """The share of clean labels, known, or estimated until it is frozen.

    State of an estimate: float64 [2, 2], how many of the surest images agreed with their labels and how many there
    were, in this epoch and in those before.
    """

    def __init__(self, given: float | None, until: float, device: torch.device) -> None:
        """`given`: the share, or None to estimate it; `until`: the progress of training at which it is frozen."""
        self.given, self.until = given, until
        self.counts = torch.zeros(2, 2, dtype=torch.float64, device=device)
        self.state = {} if given is not None else {"surest": self.counts}
        self._value = given

    @property
    def value(self) -> float:
        """The share, in (0, 1]; 1 before the first estimate. Waits for a GPU once an epoch."""
        if self._value is None:
            agreeing, count = self.counts[1].tolist()
            # at least one label, since nothing can be learned from none
            self._value = max(agreeing, 1.0) / count if count else 1.0
        return self._value

    def watch(self, logits: Tensor, batch: Batch) -> None:
        """Compare the network's logits [B, classes] with the given labels."""
        if self.given is not None or batch.progress >= self.until:
            return
        sureness, predicted = logits.detach().softmax(dim=1).max(dim=1)
        agrees = batch.gather((predicted == batch.labels).double())
        surest = batch.gather(sureness).topk(max(1, len(agrees) // SUREST)).indices
        self.counts[0, 0] += agrees[surest].sum()
        self.counts[0, 1] += len(surest)

    def begin_epoch(self) -> None:
        """Renew the estimate at the start of an epoch, from what was seen in those before."""
        if self.given is None and bool(self.counts[0, 1]):
            self.counts[1].mul_(MEMORY).add_(self.counts[0])
            self.counts[0].zero_()
            self._value = None
