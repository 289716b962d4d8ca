"""Blue noise: the wrong label that a clean image gets. It does not depend on the level."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.keyed_hash import Ids, keyed_hash


def symmetric(image_ids: Ids, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Wrong labels, int64 (n,), uniform over the other `classes` − 1: never the right one."""
    draw = keyed_hash(image_ids, seed, "flip") % np.uint64(classes - 1)
    wrong = draw.astype(np.int64)
    return wrong + (wrong >= labels)


def asymmetric(labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Wrong labels, int64 (n,): the target of each label's class; targets: int64 (classes,)."""
    return targets[labels]


def mapped_targets(class_names: Sequence[str], class_map: Mapping[str, str]) -> np.ndarray:
    """Targets by a map of names, int64 (classes,); a class that it leaves out goes to the next of the list."""
    position = {name: i for i, name in enumerate(class_names)}
    following = [(i + 1) % len(class_names) for i in range(len(class_names))]
    chosen = [position[class_map[n]] if n in class_map else following[i] for i, n in enumerate(class_names)]
    return np.array(chosen, np.int64)


def confused_targets(labels: np.ndarray, true_labels: np.ndarray, classes: int) -> np.ndarray:
    """Targets by the confusion of wrong images, int64 (classes,).

    labels: the class that each image was found for, true_labels: the one it shows (both int, (n,)). The target is the
    commonest true class; where there is none, the next of the list; the class of lower id wins a tie.
    """
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, true_labels), 1)
    np.fill_diagonal(confusion, 0)
    following = (np.arange(classes) + 1) % classes
    return np.where(confusion.any(axis=1), confusion.argmax(axis=1), following)
