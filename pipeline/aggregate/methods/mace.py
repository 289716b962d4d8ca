"""MACE: on each item a worker either knows the answer or answers at random with a personal distribution (a habit).

D. Hovy, T. Berg-Kirkpatrick, A. Vaswani, E. Hovy: Learning Whom to Trust with MACE. NAACL-HLT 2013, section 3.
"""

import numpy as np
from scipy.special import digamma

from pipeline.aggregate.methods.convergence import ConvergenceMonitor, MethodSettings
from pipeline.aggregate.methods.posterior import Posterior, normalize_scores
from pipeline.aggregate.methods.vote_matrix import VoteMatrix

KNOWING_PRIOR = 0.5  # Beta(½, ½) on knowing, as in the paper's section 3.3
HABIT_PRIOR = 10.0  # Dirichlet(10) on the habits, as in its authors' code


def mace(votes: VoteMatrix, settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Estimate θ_j, how often worker j knows the answer, and ξ_j, the habit, by variational Bayes (section 3.3).

    P(answer a | class c) = θ[a = c] + (1 − θ) ξ_a. An unsure answer can only be a habit, so it lowers θ. Iterations start
    from the point of symmetry, θ = ½ and ξ uniform. Unlike with the random starts of the paper, the result does not
    depend on the order of workers. The skill is θ.
    """
    knowing = np.full(votes.n_workers, 0.5)
    guessing = 1 - knowing
    habit = np.full((votes.n_workers, votes.n_answers), 1 / votes.n_answers)
    counts = votes.by_cell()
    monitor = ConvergenceMonitor(len(votes.items), settings.tolerance)
    for _ in range(settings.max_iterations):
        by_habit = guessing[:, None] * habit  # (workers, answers)
        right = np.log1p(knowing[:, None] / by_habit)  # log of P(a | c = a) / P(a | c ≠ a)
        scores = votes.tally(right.ravel()[votes.cells])
        posterior, evidence = normalize_scores(scores, gold)
        converged = monitor.update(
            evidence + float((counts * np.log(by_habit)).sum()) - votes.n_items * float(np.log(votes.classes))
        )
        # The expected number of known answers among the votes of a cell (worker, answer).
        known = votes.by_cell(votes.chosen(posterior)) * (knowing[:, None] / (knowing[:, None] + by_habit))
        by_knowing = known.sum(axis=1)
        expected = np.stack([by_knowing, counts.sum(axis=1) - by_knowing], axis=1)
        knowing, guessing = _mean_of_logs(expected + KNOWING_PRIOR).T
        habit = _mean_of_logs(counts - known + HABIT_PRIOR)
        if converged:
            break
    return Posterior(
        posterior,
        knowing / (knowing + guessing),
        log_likelihood=tuple(monitor.history),
        converged=monitor.converged,
    )


def _mean_of_logs(concentration: np.ndarray) -> np.ndarray:
    """Variational M-step: return exp E[log p] of Dirichlet rows (n, k); rows sum to less than 1."""
    result: np.ndarray = np.exp(digamma(concentration) - digamma(concentration.sum(axis=1, keepdims=True)))
    return result
