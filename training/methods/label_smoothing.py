"""Label smoothing (Szegedy et al., CVPR 2016, section 7); against label noise: Lukasik et al., ICML 2020."""

from collections.abc import Sequence

from torch.nn.functional import nll_loss

from training.method_config import LabelSmoothingConfig
from training.methods.interface import Batch, ForwardPasses, Method, StepOutcome


class LabelSmoothing(Method):
    """Cross-entropy against (1 − ε)·onehot + ε/classes."""

    def __init__(self, config: LabelSmoothingConfig) -> None:
        super().__init__()
        self.config = config

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the mean loss of the batch."""
        [student] = students
        log_p = student(batch.images).log_softmax(dim=1)
        losses = nll_loss(log_p, batch.labels, reduction="none")
        epsilon = self.config.epsilon
        return StepOutcome(((1 - epsilon) * losses - epsilon * log_p.mean(dim=1)).mean(), losses=losses)
