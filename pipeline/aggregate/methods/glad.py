"""GLAD: workers differ in ability, items in difficulty.

J. Whitehill, P. Ruvolo, T. Wu, J. Bergsma, J. Movellan: Whose Vote Should Count More. NIPS 2009.
P(right | worker j, item i) = σ(α_j β_i) (equation 1), other classes equally likely; α ~ N(1, 1), log β ~ N(1, 1).
"""

import numpy as np
from scipy.special import expit, log_expit

from pipeline.aggregate.methods.convergence import ConvergenceMonitor, MethodSettings
from pipeline.aggregate.methods.posterior import Posterior, normalize_scores
from pipeline.aggregate.methods.vote_matrix import VoteMatrix

LONGEST_STEP = 1.0  # of log β: Q is not concave in it
HALVINGS = 30


def glad(votes: VoteMatrix, settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Maximize the penalized likelihood by generalized EM: per M-step, one Newton step of all α, then one of all log β.

    Given the others, each α_j and each log β_i is separate in Q (section 3.1), so a step is a few sums over votes; the
    expected curvature is used, which is never negative. A step that would lower the penalized likelihood is halved, so it
    rises to a maximum as with the paper's conjugate gradients, in a fraction of the time. The prior over classes is
    uniform. Unsure votes carry no information about the class in this model and are ignored.
    """
    steps = _GladSteps(votes, gold)
    alpha, log_beta = np.ones(votes.n_workers), np.ones(votes.n_items)
    posterior, objective = steps.expect(alpha, log_beta)
    monitor = ConvergenceMonitor(len(votes.items), settings.tolerance)
    monitor.update(objective)
    for _ in range(settings.max_iterations):
        new_alpha, new_log_beta = steps.step(posterior, alpha, log_beta)
        for _ in range(HALVINGS):
            new_posterior, new_objective = steps.expect(new_alpha, new_log_beta)
            if new_objective >= objective:
                break
            new_alpha, new_log_beta = (new_alpha + alpha) / 2, (new_log_beta + log_beta) / 2
        else:
            monitor.converged = True  # no step increases the objective
            break
        alpha, log_beta, posterior, objective = new_alpha, new_log_beta, new_posterior, new_objective
        if monitor.update(objective):
            break
    skill = votes.by_worker(expit(steps.margin(alpha, log_beta)) * votes.names_class)
    named = votes.by_worker(votes.names_class.astype(np.float64))
    return Posterior(
        posterior,
        np.where(named > 0, skill / np.maximum(named, 1), np.nan),
        difficulty=np.exp(-log_beta),
        log_likelihood=tuple(monitor.history),
        converged=monitor.converged,
    )


class _GladSteps:
    """The votes, and the E-step and M-step over them."""

    def __init__(self, votes: VoteMatrix, gold: np.ndarray | None) -> None:
        self.votes, self.gold = votes, gold
        self.named = votes.names_class.astype(np.float64)
        self.log_wrong_classes = np.log(votes.classes - 1)  # wrong classes are equally likely

    def margin(self, alpha: np.ndarray, log_beta: np.ndarray) -> np.ndarray:
        """Return α β of each vote, float64 (V,)."""
        product: np.ndarray = alpha[self.votes.workers] * np.exp(log_beta)[self.votes.items]
        return product

    def expect(self, alpha: np.ndarray, log_beta: np.ndarray) -> tuple[np.ndarray, float]:
        """E-step (equations 4 and 5): return (posterior, log-likelihood plus log prior)."""
        x = self.margin(alpha, log_beta)
        scores = self.votes.tally(x + self.log_wrong_classes)  # log σ(x) − log σ(−x) = x
        posterior, evidence = normalize_scores(scores, self.gold)
        wrong = float((self.named * (log_expit(-x) - self.log_wrong_classes)).sum())
        prior = -0.5 * (((alpha - 1) ** 2).sum() + ((log_beta - 1) ** 2).sum())
        return posterior, evidence + wrong + float(prior)

    def step(
        self, posterior: np.ndarray, alpha: np.ndarray, log_beta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """M-step: one Newton step of α, then one of log β (gradients: equations 6 and 7, with the priors)."""
        votes = self.votes
        right = votes.chosen(posterior)
        beta = np.exp(log_beta)[votes.items]
        sigma = expit(alpha[votes.workers] * beta)
        gradient = votes.by_worker((right - sigma) * self.named * beta) - (alpha - 1)
        curvature = votes.by_worker(sigma * (1 - sigma) * self.named * beta * beta) + 1
        alpha = alpha + gradient / curvature

        x = alpha[votes.workers] * beta
        sigma = expit(x)
        gradient = votes.by_item((right - sigma) * self.named * x) - (log_beta - 1)
        curvature = votes.by_item(sigma * (1 - sigma) * self.named * x * x) + 1
        return alpha, log_beta + np.clip(gradient / curvature, -LONGEST_STEP, LONGEST_STEP)
