"""Blue noise: the wrong label that a clean image gets. It does not depend on the level."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.keyed_hash import keyed_hash


def symmetric(image_ids: Sequence[str], labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Wrong labels, int64 (n,), uniform over the other `classes` − 1: never the right one."""
    draw = keyed_hash(image_ids, seed, "flip") % np.uint64(classes - 1)
    wrong = draw.astype(np.int64)
    return wrong + (wrong >= labels)


def asymmetric(
    labels: np.ndarray, class_names: Sequence[str], class_map: Mapping[str, str] | None
) -> np.ndarray:
    """Wrong labels, int64 (n,), by `class_map`; a class that it does not name goes to the next of the list."""
    position = {name: i for i, name in enumerate(class_names)}
    chosen = class_map or {}
    target = [
        position[chosen[name]] if name in chosen else (i + 1) % len(class_names)
        for i, name in enumerate(class_names)
    ]
    return np.array(target, np.int64)[labels]
