"""Distribute wrong web images among the classes, each to one class only, so that no set has it twice.

The better supported come first.
"""

import numpy as np

MAX_ROUNDS = 50
EVIDENCE_STEPS = 20  # P(wrong) is rounded to steps of 1/20


def evidence_tiers(p_wrong: np.ndarray) -> np.ndarray:
    """Return how well it is supported that images are wrong, uint8 (n,); higher is better.

    p_wrong: float (n,), the probability that an image does not show the class, NaN where it is not estimated. The tier is
    p_wrong in steps of 1/20. Coarse steps leave the choice among about equally supported images to a hash, so that trials
    differ, and no last bit of an estimate decides. Whether an image shows another class counts as far as p_wrong accounts
    for it: by itself it would fill all levels with images that show listed classes.
    """
    return np.rint(np.nan_to_num(p_wrong.astype(np.float64)).clip(0, 1) * EVIDENCE_STEPS).astype(np.uint8)


def assign(
    hashes: np.ndarray, evidence: np.ndarray, images: np.ndarray, labels: np.ndarray, sizes: np.ndarray
) -> list[np.ndarray]:
    """Distribute wrong images among the classes for which they are wrong.

    images: int (n,) and labels: int (n,) are pairs, unique, in any order; an image may come with several classes.
    hashes: uint64 (n,), the keyed hash of each image. evidence: uint8 (n,), how well each pair is supported; candidates with
    more evidence are used first, in the order of their hashes where it is equal. sizes: int (classes,), clean images of
    each class. An image with several classes goes to the class that is the scarcest (candidates for each clean image),
    and moves on as long as that evens out the classes. Then images exchange their classes where that adds evidence, which
    leaves the number of candidates of each class. The noise levels have no part in it, so that another list of levels
    keeps every choice. Returns, for each class, the indices (into the pairs) of its candidates in the order in which they
    are used.
    """
    order = np.lexsort((labels, images, hashes))
    is_first = np.ones(len(order), bool)
    is_first[1:] = images[order[1:]] != images[order[:-1]]
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], len(order))
    taken = order[starts]
    shared = np.flatnonzero(ends - starts > 1).tolist()  # images with several classes

    def options_of(number: int) -> np.ndarray:
        return order[starts[number] : ends[number]]

    weight = 1.0 / np.maximum(np.asarray(sizes, float), 1e-9)
    supply = np.bincount(labels[np.delete(taken, shared)], minlength=len(sizes)).astype(float)
    for number in shared:
        options = options_of(number)
        pick = options[np.argmin((supply[labels[options]] + 1) * weight[labels[options]])]
        supply[labels[pick]] += 1
        taken[number] = pick
    for _ in range(MAX_ROUNDS):
        moved = False
        for number in shared:
            options, label = options_of(number), labels[taken[number]]
            supply[label] -= 1
            filled = (supply[labels[options]] + 1) * weight[labels[options]]
            pick = options[np.argmin(filled)]
            if filled.min() < (supply[label] + 1) * weight[label] and labels[pick] != label:
                taken[number], moved = pick, True
            supply[labels[taken[number]]] += 1
        if not moved:
            break
    _exchange(order, starts, ends, taken, np.array(shared, np.int64), labels, evidence)
    by_class = np.lexsort(
        (255 - evidence[taken], labels[taken])
    )  # stable: equal ones stay in the order of hashes
    return np.split(taken[by_class], np.cumsum(np.bincount(labels[taken], minlength=len(sizes)))[:-1])


def _exchange(
    order: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    taken: np.ndarray,
    shared: np.ndarray,
    labels: np.ndarray,
    evidence: np.ndarray,
) -> None:
    """Let two images exchange their classes as long as their evidence adds up to more; changes `taken`.

    order, starts, ends: the pairs of image i are order[starts[i]:ends[i]]; taken: int (images,), the pair that each image
    uses; shared: the images with several pairs.
    """
    lengths = ends[shared] - starts[shared]
    owners = np.repeat(shared, lengths)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    options = order[starts[owners] + within]
    if not len(options) or (evidence[options] == evidence[options[0]]).all():
        return
    for _ in range(MAX_ROUNDS):
        here = labels[taken[owners]].astype(np.int64)
        there = labels[options].astype(np.int64)
        gain = evidence[options].astype(np.int64) - evidence[taken[owners]]
        moves: dict[tuple[int, int], list[int]] = {}
        for row in np.lexsort((np.arange(len(owners)), -gain)).tolist():
            if here[row] != there[row]:
                moves.setdefault((int(here[row]), int(there[row])), []).append(row)
        used: set[int] = set()
        for (source, target), forth in sorted(moves.items()):
            back = moves.get((target, source), []) if source < target else []
            for one, other in zip(forth, back, strict=False):
                if gain[one] + gain[other] <= 0:
                    break
                pair = {int(owners[one]), int(owners[other])}
                if not pair & used:
                    used |= pair
                    taken[owners[one]], taken[owners[other]] = options[one], options[other]
        if not used:
            break
