"""Which wrong web image stands ready for which class: each for one class only, so that no set has it twice."""

import numpy as np

from pipeline.keyed_hash import keyed_hash

MAX_ROUNDS = 50


def assign(image_ids: np.ndarray, labels: np.ndarray, sizes: np.ndarray, seed: int) -> list[np.ndarray]:
    """Share out wrong images among the classes for which they are wrong.

    image_ids: str (n,) and labels: int (n,) are pairs, unique, in any order; an image may come with several
    classes. sizes: int (classes,), clean images of each class. An image that may choose goes to the class that is the
    scarcest (candidates for each clean image), and moves on as long as that evens out the classes; the noise levels have no
    part in it, so that another list of levels keeps every choice. Returns, for each class, the positions (into the
    pairs) of its candidates in the order in which they are used.
    """
    image_ids, labels = np.asarray(image_ids, object), np.asarray(labels, np.int64)
    turn = keyed_hash(image_ids, seed, "candidate")
    order = np.lexsort((labels, image_ids, turn))
    first = np.r_[True, image_ids[order][1:] != image_ids[order][:-1]] if len(order) else np.empty(0, bool)
    starts = np.flatnonzero(first)
    ends = np.r_[starts[1:], len(order)].astype(np.int64)
    taken = order[starts]
    shared = np.flatnonzero(ends - starts > 1).tolist()  # the others have no choice
    choices = {number: order[starts[number] : ends[number]] for number in shared}

    weight = 1.0 / np.maximum(np.asarray(sizes, float), 1e-9)
    supply = np.bincount(labels[np.delete(taken, shared)], minlength=len(sizes)).astype(float)
    for number, options in choices.items():
        pick = options[np.argmin((supply[labels[options]] + 1) * weight[labels[options]])]
        supply[labels[pick]] += 1
        taken[number] = pick
    for _ in range(MAX_ROUNDS):
        moved = False
        for number, options in choices.items():
            now = labels[taken[number]]
            supply[now] -= 1
            filled = (supply[labels[options]] + 1) * weight[labels[options]]
            pick = options[np.argmin(filled)]
            if filled.min() < (supply[now] + 1) * weight[now] and labels[pick] != now:
                taken[number], moved = pick, True
            supply[labels[taken[number]]] += 1
        if not moved:
            break
    return [taken[labels[taken] == label] for label in range(len(sizes))]
