"""Select the clean images that become noisy at a level. Red and blue noise select the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import DataError
from pipeline.keyed_hash import Ids, keyed_hash
from pipeline.noise.quota import class_sequence, shrunk_sizes
from pipeline.noise.supply import Supply

SHOWN = 20  # classes in one message


@dataclass(frozen=True)
class Selection:
    """The clean images at one noise level, as indices into the clean images, all int32.

    noisy: images that become noisy. rank: for each of them k, from 0, if it is the k-th of its class; red noise replaces
    it by the k-th candidate of the class. kept: images that stay. Images in neither are not in the set.
    """

    noisy: np.ndarray
    rank: np.ndarray
    kept: np.ndarray


class NoiseOrder:
    """The order in which clean images become noisy; every level is a prefix of it.

    image_ids: (n,), labels: int (n,), all classes non-empty. Unless `nested`, every level has an order of its own.
    """

    def __init__(
        self, image_ids: Ids, labels: np.ndarray, highest_level: float, seed: int, nested: bool
    ) -> None:
        self.image_ids, self.labels, self.seed, self.nested = image_ids, labels, seed, nested
        self.sizes = np.bincount(labels)
        self._sequence = class_sequence(self.sizes, self._total(highest_level))
        self._by_class = self._order("give-way") if nested else []

    def wanted(self, level: float) -> np.ndarray:
        """Return the number of noisy images of each class: int (classes,), with the sum round(level · n)."""
        return np.bincount(self._sequence[: self._total(level)], minlength=len(self.sizes))

    def select(self, level: float, available: np.ndarray | None, on_shortage: str) -> Selection:
        """Select the noisy images of a level, at most `highest_level`.

        available: int (classes,), the images that can be replaced in each class, or None for no limit. on_shortage decides
        where these are too few: "shrink" leaves clean images out so that the level holds (`quota.shrunk_sizes`), "cap"
        replaces fewer.
        """
        by_class = self._by_class if self.nested else self._order(f"give-way/{level!r}")
        wanted, sizes = self.wanted(level), self.sizes
        counts = wanted if available is None else np.minimum(wanted, available)
        if on_shortage == "shrink" and (counts < wanted).any():
            sizes = shrunk_sizes(level, sizes, counts, counts < wanted)
        noisy, rank, kept = [], [], []
        for members, count, size in zip(by_class, counts.tolist(), sizes.tolist(), strict=True):
            noisy.append(members[:count])
            rank.append(np.arange(count, dtype=np.int32))
            kept.append(members[count:size])
        return Selection(np.concatenate(noisy), np.concatenate(rank), np.concatenate(kept))

    def _total(self, level: float) -> int:
        return round(level * len(self.labels))

    def _order(self, purpose: str) -> list[np.ndarray]:
        """Return the indices of each class in their keyed order."""
        hashes = keyed_hash(self.image_ids, self.seed, purpose)
        order = np.lexsort((hashes, self.labels)).astype(np.int32)
        return np.split(order, np.cumsum(self.sizes)[:-1])


def check_clean_left(
    name: str, class_names: Sequence[str], labels: np.ndarray, allow_empty: Sequence[str]
) -> None:
    """Raise DataError if a class that is not in `allow_empty` has no clean image left in a set.

    name: of the set; labels: int (n,), of the clean images that stay in it.
    """
    left = np.bincount(labels, minlength=len(class_names))
    empty = [class_names[i] for i in np.flatnonzero(left == 0).tolist() if class_names[i] not in allow_empty]
    if empty:
        raise DataError(
            f"{name} would have no clean image of {', '.join(empty)}: too few images, or too few verified-wrong images, for "
            "this noise level. Find more web images for these classes, drop the level from noise.levels, or accept "
            f"it with noise.allow_empty_classes=[{', '.join(empty)}]"
        )


def check_supply(
    color: str,
    class_names: Sequence[str],
    order: NoiseOrder,
    available: np.ndarray,
    levels: Sequence[float],
    supply: Supply | None = None,
) -> None:
    """Raise DataError if a class has fewer wrong images than the highest level needs.

    The message names each class with the wrong images that it has and needs, the reasons, the largest level that all
    classes allow, and the remedies.
    """
    top = max(levels, default=0.0)
    needed = order.wanted(top)
    short = np.flatnonzero(available < needed).tolist()
    if not short:
        return
    lines = [
        f"  {class_names[i]}: has {available[i]} wrong images, {needed[i]} are needed"
        + (f" ({supply.explain(i, color)})" if supply else "")
        for i in short[:SHOWN]
    ]
    lines += [f"  and {len(short) - SHOWN} more classes"] if len(short) > SHOWN else []
    largest = float(np.min(available / order.sizes))
    fitting = [level for level in levels if (order.wanted(level) <= available).all()]
    raise DataError(
        f"{color}: too few verified-wrong images for noise level {top}:\n" + "\n".join(lines) + "\n"
        f"All classes allow levels up to {int(largest * 1000) / 1000} (of those asked for: up to {max(fitting, default=0)}). "
        + (supply.hint(color) if supply else "")
        + "Find more web images for these classes, drop the higher levels from noise.levels, or set noise.on_shortage "
        "to shrink (fewer clean images, the level holds) or cap (fewer wrong ones, the level is missed)"
    )
