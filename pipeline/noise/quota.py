"""Compute how many images of each class become noisy, and class sizes that hold a level despite a shortage."""

from heapq import heappop, heappush

import numpy as np


def class_sequence(sizes: np.ndarray, length: int) -> np.ndarray:
    """Return the classes of the images that become noisy, one after the other: int32 (length,).

    Among its first h entries, class c has floor(q) or ceil(q) with q = h·sizes[c]/sum(sizes), for every h. So any
    noise level is a prefix, its total is exact, each class is within one image of its share, and a higher level keeps
    the counts of a lower one. Rounding every level by itself (largest remainder) does not guarantee the last; the quota
    method of Balinski and Young ("The quota method of apportionment", 1975) does.

    sizes: int (classes,), positive. length: at most sum(sizes). Ties go to the class of lower id.
    """
    sizes = np.asarray(sizes, np.int64)
    total = int(sizes.sum())
    assert length <= total
    assert (sizes > 0).all()
    sequence = np.empty(length, np.int32)
    counts = sizes.tolist()
    given = [0] * len(counts)
    # A class is eligible from the step at which one more image does not exceed its upper quota.
    waiting = [(1, c) for c in range(len(counts))]  # (step, class)
    ready: list[tuple[float, int]] = []  # (-images for each one given and the next, class)
    for h in range(1, length + 1):
        while waiting and waiting[0][0] <= h:
            _, c = heappop(waiting)
            heappush(ready, (-counts[c] / (given[c] + 1), c))
        _, winner = heappop(ready)
        given[winner] += 1
        sequence[h - 1] = winner
        heappush(waiting, (given[winner] * total // counts[winner] + 1, winner))
    return sequence


def shrunk_sizes(level: float, sizes: np.ndarray, wrong: np.ndarray, is_short: np.ndarray) -> np.ndarray:
    """Return the size of each class at which the level holds with fewer wrong images: int64 (classes,).

    sizes: int (classes,), images of each class; wrong: int (classes,), how many of them are wrong; is_short: bool
    (classes,), the classes with fewer wrong images than the level needs, of which there is at least one. Short classes
    get the size nearest to wrong/level, rounded up or down so that in all the wrong images are within half an image of
    the level. Where one of them would be off by more than an image, all classes get the nearest size.
    """
    sizes, wrong = np.asarray(sizes, np.int64), np.asarray(wrong, np.int64)
    total, whole = int(wrong.sum()), int(sizes[~is_short].sum())
    ideal = wrong[is_short] / level
    fewest, most = int(np.ceil((total - 0.5) / level - 1e-9)), int((total + 0.5) / level + 1e-9)
    rows = min(max(round(float(ideal.sum())) + whole, fewest), most)
    result = sizes.copy()
    result[is_short] = round_to_total(ideal, wrong[is_short], sizes[is_short], rows - whole)
    if result.sum() == rows and (abs(wrong - level * result) <= 1).all():
        return result
    return round_to_total(wrong / level, wrong, sizes, min(round(total / level), int(sizes.sum())))


def round_to_total(ideal: np.ndarray, least: np.ndarray, most: np.ndarray, total: int) -> np.ndarray:
    """Round `ideal` to integers from `least` to `most` whose sum is `total`, or as near to it as these bounds allow.

    All (n,). The largest remainders are rounded up; ties go to the lower index.
    """
    most = np.maximum(least, most)
    result = np.clip(np.floor(ideal + 1e-9).astype(np.int64), least, most)
    while (missing := total - int(result.sum())) != 0:
        step = 1 if missing > 0 else -1
        free = np.flatnonzero(result < most if step > 0 else result > least)
        if not len(free):
            break
        order = np.argsort(-step * np.round(ideal - result, 9)[free], kind="stable")
        result[free[order[: abs(missing)]]] += step
    return result
