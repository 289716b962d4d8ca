"""When iterations end, and what keeps estimates from few votes away from 0 and 1."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodSettings:
    """MethodSettings of the iterative methods.

    They end after `max_iterations`, or when the log-likelihood (GLAD: with its log prior) per vote rises by less
    than `tolerance`. `smoothing` is added to each count of a Dawid-Skene confusion matrix, and to the right and
    wrong answers of a one-coin worker; 0 is the maximum likelihood of the paper.
    """

    max_iterations: int = 100
    tolerance: float = 1e-6
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations is 1 or more, got {self.max_iterations}")
        if self.smoothing < 0:
            raise ValueError(f"smoothing is 0 or more, got {self.smoothing}")


class ConvergenceMonitor:
    """The log-likelihood per vote after each iteration, and whether it has stopped rising."""

    def __init__(self, votes: int, tolerance: float) -> None:
        self.votes, self.tolerance = max(votes, 1), tolerance
        self.history: list[float] = []
        self.converged = False

    def update(self, log_likelihood: float) -> bool:
        """Note the sum over all votes; returns whether the iterations may end."""
        self.history.append(log_likelihood / self.votes)
        rose = self.history[-1] - self.history[-2] if len(self.history) > 1 else float("inf")
        self.converged = rose < self.tolerance
        return self.converged
