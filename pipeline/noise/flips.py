"""Blue noise: choose the wrong label of a clean image. It does not depend on the level."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.keyed_hash import Ids, keyed_hash


def symmetric(image_ids: Ids, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Return wrong labels, int64 (n,), uniform over the `classes` − 1 other classes."""
    draw = keyed_hash(image_ids, seed, "flip") % np.uint64(classes - 1)
    wrong = draw.astype(np.int64)
    return wrong + (wrong >= labels)


def asymmetric(labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return wrong labels, int64 (n,): the target of each label's class; targets: int64 (classes,)."""
    return targets[labels]


def mapped_targets(class_names: Sequence[str], class_map: Mapping[str, str]) -> np.ndarray:
    """Return targets by a map of names, int64 (classes,); a class that is not in the map gets the next class."""
    position = {name: i for i, name in enumerate(class_names)}
    following = [(i + 1) % len(class_names) for i in range(len(class_names))]
    chosen = [position[class_map[n]] if n in class_map else following[i] for i, n in enumerate(class_names)]
    return np.array(chosen, np.int64)


def confused_targets(labels: np.ndarray, true_labels: np.ndarray, classes: int) -> np.ndarray:
    """Return targets by the confusion of wrong images, int64 (classes,).

    labels: the class that each image was found for, true_labels: the class that it shows (both int, (n,)). The target of
    a class is the most frequent true label of its images; without any, the next class. Ties go to the lower id.
    """
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, true_labels), 1)
    np.fill_diagonal(confusion, 0)
    following = (np.arange(classes) + 1) % classes
    return np.where(confusion.any(axis=1), confusion.argmax(axis=1), following)
