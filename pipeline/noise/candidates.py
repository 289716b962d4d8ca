"""Which wrong web image is a candidate for which class: each for one class only, so that no set has it twice."""

import numpy as np

MAX_ROUNDS = 50


def assign(hashes: np.ndarray, images: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Distribute wrong images among the classes for which they are wrong.

    images: int (n,) and labels: int (n,) are pairs, unique, in any order; an image may come with several classes.
    hashes: uint64 (n,), the keyed hash of each image, which decides the order. sizes: int (classes,), clean images of
    each class. An image with several classes goes to the class that is the scarcest (candidates for each clean image),
    and moves on as long as that evens out the classes; the noise levels have no part in it, so that another list of
    levels keeps every choice. Returns, for each class, the indices (into the pairs) of its candidates in the order in
    which they are used.
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
    by_class = np.argsort(labels[taken], kind="stable")
    return np.split(taken[by_class], np.cumsum(np.bincount(labels[taken], minlength=len(sizes)))[:-1])
