"""Settings of the iterative methods, and the test for convergence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodSettings:
    """Settings of the iterative methods.

    max_iterations: 1 or more. tolerance: iterations end when the log-likelihood per vote (GLAD: with its log prior) rises
    by less. smoothing: pseudo-count added to each count of a Dawid-Skene confusion matrix, and to the right and wrong
    answers of a one-coin worker; 0 is the maximum likelihood of the paper.
    """

    max_iterations: int = 100
    tolerance: float = 1e-6
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be 1 or more, got {self.max_iterations}")
        if self.smoothing < 0:
            raise ValueError(f"smoothing must be 0 or more, got {self.smoothing}")


class ConvergenceMonitor:
    """Log-likelihood per vote after each iteration, and whether it has stopped rising."""

    def __init__(self, votes: int, tolerance: float) -> None:
        self.votes, self.tolerance = max(votes, 1), tolerance
        self.history: list[float] = []
        self.converged = False

    def update(self, log_likelihood: float) -> bool:
        """Record the log-likelihood of all votes; return whether the iterations have converged."""
        self.history.append(log_likelihood / self.votes)
        rise = self.history[-1] - self.history[-2] if len(self.history) > 1 else float("inf")
        self.converged = rise < self.tolerance
        return self.converged
