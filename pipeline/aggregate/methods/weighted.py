"""Votes that weigh: majority, weighted majority, worker agreement with aggregate, zero-based skill."""

import numpy as np

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.posterior import UNKNOWN, Posterior, clamp_to_gold, plurality, vote_shares
from pipeline.aggregate.methods.vote_matrix import VoteMatrix


def majority(votes: VoteMatrix, _settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Shares of the votes; unsure is divided equally. The skill is that of `wawa`."""
    probabilities = clamp_to_gold(vote_shares(votes), gold)
    return Posterior(probabilities, agreement_with(votes, probabilities))


def weighted_majority(
    votes: VoteMatrix, _settings: MethodSettings, gold: np.ndarray | None = None
) -> Posterior:
    """Each worker weighs the log odds of being right: optimal where these are known and answers independent.

    S. Nitzan, J. Paroush: Optimal Decision Rules in Uncertain Dichotomous Choice Situations. International Economic
    Review 23 (1982), theorem 1; for K classes log((K − 1) p / (1 − p)). p is estimated by `agreement_with_others`, with one
    right and one wrong answer added, and no weight is below 0.
    """
    agreed, judged = agreement_with_others(votes, gold)
    skill = (agreed + 1) / (judged + 2)
    weights = np.maximum(np.log((votes.classes - 1) * skill / (1 - skill)), 0)
    return Posterior(clamp_to_gold(vote_shares(votes, weights), gold), skill)


def wawa(votes: VoteMatrix, _settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Worker agreement with aggregate: a worker weighs the share of their answers that the majority gave, too.

    As in crowd-kit; an answer that shares the lead with t − 1 others agrees to 1/t, so that no order of the
    classes decides, and an unsure answer agrees with nothing.
    """
    skill = agreement_with(votes, clamp_to_gold(vote_shares(votes), gold))
    return Posterior(clamp_to_gold(vote_shares(votes, skill), gold), skill)


def zero_based_skill(
    votes: VoteMatrix, settings: MethodSettings, gold: np.ndarray | None = None
) -> Posterior:
    """Wawa repeated: skills start at chance and step toward the agreement with the majority that they weigh.

    As in crowd-kit: step 1, halved every 20 iterations. It ends when no skill moves by more than `tolerance`.
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
    """Share of a worker's answers that name the leading class of the item, float64 (workers,)."""
    agreed = votes.by_worker(votes.chosen(plurality(probabilities)))
    return agreed / np.maximum(votes.by_worker(), 1)


def agreement_with_others(votes: VoteMatrix, gold: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of each worker's answers: how many name the class that leads among the *other* workers, and how many could.

    Not counted are unsure answers, and items on which the others are tied or silent. On items with a known answer
    that one stands for the others. Returns (agreed, judged), float64 (workers,).
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
    # The two largest tallies of the classes that the vote does not name.
    best = np.where(is_first, second, first)
    next_best = np.where(is_first | is_second, third, second)
    agrees = own - 1 > best
    judged = (agrees | ((best > own - 1) & (best > next_best))) & votes.names_class
    if gold is not None:
        known = gold[votes.items]
        agrees = np.where(known != UNKNOWN, known == votes.answers, agrees)
        judged = np.where(known != UNKNOWN, votes.names_class, judged)
    return votes.by_worker((agrees & judged).astype(np.float64)), votes.by_worker(judged.astype(np.float64))
