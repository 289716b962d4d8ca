"""Weighted votes: majority, weighted majority, worker agreement with aggregate (WAWA), zero-based skill."""

import numpy as np

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.posterior import UNKNOWN, Posterior, clamp_to_gold, plurality, vote_shares
from pipeline.aggregate.methods.vote_matrix import VoteMatrix


def majority(votes: VoteMatrix, _settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Return the shares of the votes; unsure is divided equally. The skill is that of `wawa`."""
    probabilities = clamp_to_gold(vote_shares(votes), gold)
    return Posterior(probabilities, agreement_with(votes, probabilities))


def weighted_majority(
    votes: VoteMatrix, _settings: MethodSettings, gold: np.ndarray | None = None
) -> Posterior:
    """Weight each worker by the log odds of being right: optimal if these are known and answers are independent.

    S. Nitzan, J. Paroush: Optimal Decision Rules in Uncertain Dichotomous Choice Situations. International Economic
    Review 23 (1982), theorem 1; for K classes log((K − 1) p / (1 − p)). p is estimated by `agreement_with_others`, with
    one right and one wrong answer added; no weight is below 0.
    """
    agreed, compared = agreement_with_others(votes, gold)
    skill = (agreed + 1) / (compared + 2)
    weights = np.maximum(np.log((votes.classes - 1) * skill / (1 - skill)), 0)
    return Posterior(clamp_to_gold(vote_shares(votes, weights), gold), skill)


def wawa(votes: VoteMatrix, _settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Weight each worker by the share of their answers that agree with the majority.

    As in crowd-kit, except for ties: an answer that shares the lead with t − 1 others agrees to 1/t, so the order of the
    classes decides nothing. An unsure answer never agrees.
    """
    skill = agreement_with(votes, clamp_to_gold(vote_shares(votes), gold))
    return Posterior(clamp_to_gold(vote_shares(votes, skill), gold), skill)


def zero_based_skill(
    votes: VoteMatrix, settings: MethodSettings, gold: np.ndarray | None = None
) -> Posterior:
    """Iterate WAWA: skills start at chance and step toward the agreement with the majority that they weight.

    As in crowd-kit: step 1, halved every 20 iterations. Ends when no skill changes by more than `tolerance`.
    """
    skill = np.full(votes.n_workers, 1 / votes.classes + 1e-5)
    rate, converged = 1.0, False
    for iteration in range(1, settings.max_iterations + 1):
        rate *= 0.5 if iteration % 20 == 0 else 1
        change = rate * (agreement_with(votes, clamp_to_gold(vote_shares(votes, skill), gold)) - skill)
        skill = skill + change
        if np.abs(change).max(initial=0) <= settings.tolerance:
            converged = True
            break
    return Posterior(clamp_to_gold(vote_shares(votes, skill), gold), skill, converged=converged)


def agreement_with(votes: VoteMatrix, probabilities: np.ndarray) -> np.ndarray:
    """Return the share of a worker's answers that name the leading class of the item, float64 (workers,)."""
    agreed = votes.by_worker(votes.chosen(plurality(probabilities)))
    return agreed / np.maximum(votes.by_worker(), 1)


def agreement_with_others(votes: VoteMatrix, gold: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Compare each worker's answers with the leading class among the *other* workers of the item.

    Unsure answers are not compared, nor are items on which the others are tied or silent. On gold items the known class
    takes the place of the others. Returns (agreed, compared), float64 (workers,).
    """
    tally = votes.tally()
    top = np.zeros((votes.n_items, 3))
    if votes.classes == 2:
        top[:, 0], top[:, 1], top[:, 2] = tally.max(axis=1), tally.min(axis=1), -1
    else:
        top[:] = -np.partition(-tally, 2, axis=1)[:, :3]
    own = votes.chosen(tally)
    first, second, third = top[votes.items].T
    is_first, is_second = own == first, (own != first) & (own == second)
    # The two largest tallies among the classes that the vote does not name.
    best = np.where(is_first, second, first)
    next_best = np.where(is_first | is_second, third, second)
    agrees = own - 1 > best
    is_compared = (agrees | ((best > own - 1) & (best > next_best))) & votes.names_class
    if gold is not None:
        gold_class = gold[votes.items]
        agrees = np.where(gold_class != UNKNOWN, gold_class == votes.answers, agrees)
        is_compared = np.where(gold_class != UNKNOWN, votes.names_class, is_compared)
    agreed = votes.by_worker((agrees & is_compared).astype(np.float64))
    return agreed, votes.by_worker(is_compared.astype(np.float64))
