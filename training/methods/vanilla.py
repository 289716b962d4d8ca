"""Plain training with cross-entropy on the given labels, the baseline."""

from collections.abc import Sequence

from torch.nn.functional import cross_entropy

from training.methods.interface import Batch, ForwardPasses, Method, StepOutcome


class Vanilla(Method):
    """Empirical risk minimization."""

    def step(self, students: Sequence[ForwardPasses], batch: Batch, /) -> StepOutcome:
        """Return the mean cross-entropy."""
        [student] = students
        losses = cross_entropy(student(batch.images), batch.labels, reduction="none")
        return StepOutcome(losses.mean(), losses=losses)
