"""All aggregation methods by name, behind one function."""

from collections.abc import Callable

import numpy as np

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.dawid_skene import dawid_skene, one_coin
from pipeline.aggregate.methods.glad import glad
from pipeline.aggregate.methods.mace import mace
from pipeline.aggregate.methods.posterior import UNKNOWN, Posterior
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from pipeline.aggregate.methods.weighted import majority, wawa, weighted_majority, zero_based_skill

METHODS: dict[str, Callable[[VoteMatrix, MethodSettings, np.ndarray | None], Posterior]] = {
    "majority": majority,
    "weighted-majority": weighted_majority,
    "dawid-skene": dawid_skene,
    "one-coin": one_coin,
    "glad": glad,
    "mace": mace,
    "wawa": wawa,
    "zero-based-skill": zero_based_skill,
}


def estimate_posterior(
    votes: VoteMatrix, method: str, settings: MethodSettings | None = None, gold: np.ndarray | None = None
) -> Posterior:
    """Estimate the posterior over the classes of each item by a method of METHODS.

    `gold` int (items,) has the known class of an item or UNKNOWN (-1): known items keep their class, and so inform the
    method about the workers. Raises ValueError for an unknown method, or gold of a wrong length or out of range.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; use one of {', '.join(METHODS)}")
    if gold is not None and (
        gold.shape != (votes.n_items,)
        or gold.max(initial=UNKNOWN) >= votes.classes
        or gold.min(initial=0) < UNKNOWN
    ):
        raise ValueError(
            f"gold must have a class below {votes.classes}, or -1, for each of {votes.n_items} items; got shape "
            f"{gold.shape} with values {gold.min(initial=0)} to {gold.max(initial=0)}"
        )
    return METHODS[method](votes, settings or MethodSettings(), gold)
