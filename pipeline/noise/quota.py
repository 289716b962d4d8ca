"""How many images of each class give way, when a given number give way in all."""

import numpy as np


def class_sequence(sizes: np.ndarray, length: int) -> np.ndarray:
    """The classes of the images that give way, one after the other: int64 (length,).

    Of its first h entries, class c has floor(q) or ceil(q) with q = h·sizes[c]/sum(sizes), for every h: any
    noise level is a prefix, its total is exact, each class is within one image of its share, and a higher level
    keeps the counts of a lower one. Rounding every level by itself (largest remainder) cannot promise the last;
    the quota method of Balinski and Young ("The quota method of apportionment", 1975) does.

    sizes: int (classes,), positive. length: at most sum(sizes). Ties go to the class of lower id.
    """
    sizes = np.asarray(sizes, np.int64)
    total = int(sizes.sum())
    assert length <= total
    assert (sizes > 0).all()
    given = np.zeros(len(sizes), np.int64)
    sequence = np.empty(length, np.int64)
    for h in range(1, length + 1):
        claim = np.where(given * total < h * sizes, sizes / (given + 1), 0.0)  # 0: would pass its upper quota
        winner = int(claim.argmax())
        given[winner] += 1
        sequence[h - 1] = winner
    return sequence
