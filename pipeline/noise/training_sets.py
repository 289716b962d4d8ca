"""Draw the training sets of a dataset: which clean images stay, which become noisy, and what stands instead."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline.keyed_hash import keyed_hash
from pipeline.noise.candidates import assign
from pipeline.noise.flips import asymmetric, confused_targets, mapped_targets, symmetric
from pipeline.noise.pools import CleanImages, Pools, WrongImages
from pipeline.noise.selection import NoiseOrder, check_clean_left, check_supply
from pipeline.noise_config import PAPER_LEVELS, NoiseConfig
from schemas.example import set_name


@dataclass(frozen=True)
class TrainingSet:
    """One training set: its color, noise level and trial, and its images as indices into the pools, all int32.

    kept: clean images with their right label, ascending. replaced: clean images that red noise replaces, or whose label
    blue noise flips. Red noise has `wrong`, the wrong image in the place of each replaced one, ascending; blue noise
    has `flipped`, the wrong label of each, in ascending order of `replaced`.
    """

    color: str
    noise_level: float
    trial: int
    kept: np.ndarray
    replaced: np.ndarray
    wrong: np.ndarray | None = None
    flipped: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return set_name(self.color, self.noise_level, self.trial)

    def __len__(self) -> int:
        return len(self.kept) + len(self.replaced)


def training_sets(
    pools: Pools,
    class_names: Sequence[str],
    config: NoiseConfig,
    seed: int,
    instance_flips: Callable[[int], np.ndarray] | None = None,
) -> Iterator[TrainingSet]:
    """Draw the set of every trial, color and level.

    instance_flips: returns the wrong labels of all clean images, int32 (n,), for the seed of a trial; needed for the color
    blue-instance. Without `config.levels`, draw the levels of the paper for which all classes have enough wrong images.
    Raises DataError, with the reasons, where a class has no clean image, or too few wrong images and the policy is to stop.
    """
    sizes = np.bincount(pools.clean.labels, minlength=len(class_names))
    empty = [class_names[i] for i in np.flatnonzero(sizes == 0).tolist()]
    if empty:
        raise DataError(
            f"no clean images left of {', '.join(empty)}; add some to the clean lists or drop the class"
        )
    part = _first_of_each_class(pools.clean, config.clean_per_class, seed)
    targets = _targets(pools.wrong, class_names, config)
    levels = PAPER_LEVELS if config.levels is None else config.levels

    def trial(number: int) -> _Trial:
        return _Trial(class_names, config, levels, seed, number, pools, part, targets, instance_flips)

    first = None
    if config.levels is None and config.on_shortage == "error":
        fitting = levels
        for number in reversed(range(config.trials)):
            first = trial(number)
            fitting = tuple(level for level in fitting if first.has_enough(level))
        levels = fitting if any(fitting) else PAPER_LEVELS[:2]
    for number in range(config.trials):
        draw, first = first or trial(number), None
        if config.on_shortage == "error":
            draw.check_supply(levels)
        for color in config.colors:
            for level in levels:
                yield draw.draw(color, level)


class _Trial:
    """One independent draw: the order in which clean images become noisy, the candidates of red noise, the flips of blue.

    levels: all that sets may be drawn of. part: indices of the clean images that red sets use, or None for all. targets:
    int64 (classes,), see `asymmetric`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        config: NoiseConfig,
        levels: Sequence[float],
        seed: int,
        trial: int,
        pools: Pools,
        part: np.ndarray | None,
        targets: np.ndarray,
        instance_flips: Callable[[int], np.ndarray] | None,
    ) -> None:
        self.config, self.seed, self.trial, self.pools = config, seed + trial, trial, pools
        self.class_names, self.top = class_names, max(levels, default=0.0)
        self.orders = {"red": self._order(part)}
        self.bases = {"red": part, "blue": part}
        self.orders["blue"] = self.orders["red"]
        if config.blue_size == "all" and part is not None:
            self.bases["blue"] = None
            self.orders["blue"] = self._order(None)
        self.candidates = self._candidates(self.orders["red"].sizes)
        clean, self.flipped = pools.clean, {}
        if "blue" in config.colors:
            flips = symmetric(clean.ids, clean.labels, len(class_names), self.seed)
            self.flipped["blue"] = flips.astype(np.int32)
        if "blue-asymmetric" in config.colors:
            self.flipped["blue-asymmetric"] = asymmetric(clean.labels, targets).astype(np.int32)
        self._instance_flips = instance_flips

    def has_enough(self, level: float) -> bool:
        """Return whether every class has enough wrong images for a level, in all colors."""
        wanted = self.orders["red"].wanted(level)
        return all((wanted <= self._available(color)).all() for color in self.candidates)

    def check_supply(self, levels: Sequence[float]) -> None:
        """Raise DataError where a class has fewer wrong images than the highest level needs."""
        for color in self.candidates:
            available, supply = self._available(color), self.pools.supply
            check_supply(color, self.class_names, self.orders["red"], available, levels, supply)

    def draw(self, color: str, level: float) -> TrainingSet:
        """Draw the set of a color and a level, which is not above the highest of `levels`."""
        hue = color.partition("-")[0]
        limited_by = color
        if hue == "blue":
            # Blue takes over red's limits, so that the colors differ in nothing but the kind of noise.
            reds = sorted(
                self.candidates, key=lambda name: name != "red"
            )  # stable: without red, the first of its kinds
            limited_by = reds[0] if reds and self.config.blue_size == "same" else ""
        available = self._available(limited_by) if limited_by else None
        selection = self.orders[hue].select(level, available, self.config.on_shortage)
        base, labels = self.bases[hue], self.pools.clean.labels
        noisy, kept = (rows if base is None else base[rows] for rows in (selection.noisy, selection.kept))
        if available is not None and self.config.on_shortage == "shrink":
            name, allowed = set_name(color, level, self.trial), self.config.allow_empty_classes
            check_clean_left(name, self.class_names, labels[kept], allowed)
        kept = np.sort(kept.astype(np.int32))
        if hue == "red":
            starts = np.cumsum([0, *self._available(color)])
            wrong = self._candidates_in_order(color, level)[starts[labels[noisy]] + selection.rank]
            order = np.argsort(wrong)
            replaced, wrong = noisy[order].astype(np.int32), wrong[order].astype(np.int32)
            return TrainingSet(color, level, self.trial, kept, replaced, wrong=wrong)
        replaced = np.sort(noisy.astype(np.int32))
        if color == "blue-instance" and color not in self.flipped:
            assert self._instance_flips is not None
            self.flipped[color] = self._instance_flips(self.seed)
        flipped = self.flipped[color][replaced]
        return TrainingSet(color, level, self.trial, kept, replaced, flipped=flipped)

    def _order(self, part: np.ndarray | None) -> NoiseOrder:
        ids, labels = self.pools.clean.ids, self.pools.clean.labels
        if part is not None:
            ids, labels = ids.take(part), labels[part]
        return NoiseOrder(ids, labels, self.top, self.seed, self.config.nested)

    def _candidates(self, sizes: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Indices of wrong images for each red color and class, in the order in which they are used."""
        colors: list[str] = [color for color in self.config.colors if color.startswith("red")]
        found: dict[str, list[np.ndarray]] = {}
        if not colors:
            return found
        wrong = self.pools.wrong
        hashes = keyed_hash(wrong.ids, self.seed, "candidate")
        for color in colors:
            usable = np.flatnonzero(_is_usable(wrong, color))
            pools = assign(
                hashes[usable], self._evidence(usable), wrong.images[usable], wrong.labels[usable], sizes
            )
            found[color] = [usable[pool].astype(np.int32) for pool in pools]
        return found

    def _candidates_in_order(self, color: str, level: float) -> np.ndarray:
        """Indices of the wrong images of a red color by class, in each class in the order in which a level uses them.

        Unless levels nest, each one has its own order among equally supported candidates; the class of an image is the same
        in all levels.
        """
        candidates = np.concatenate(self.candidates[color])
        if self.config.nested:
            return candidates
        wrong = self.pools.wrong
        hashes = keyed_hash(wrong.ids.take(pa.array(candidates)), self.seed, f"candidate/{level!r}")
        order = np.lexsort((hashes, 255 - self._evidence(candidates), wrong.labels[candidates]))
        return np.asarray(candidates[order])

    def _evidence(self, rows: np.ndarray) -> np.ndarray:
        """How well wrong images are supported as far as their order depends on it, uint8 (rows,)."""
        evidence = self.pools.wrong.evidence[rows]
        return evidence if self.config.candidate_order == "evidence" else np.zeros_like(evidence)

    def _available(self, color: str) -> np.ndarray:
        return np.array([len(pool) for pool in self.candidates[color]])


def _is_usable(wrong: WrongImages, color: str) -> np.ndarray:
    """Which wrong images are candidates of a red color, bool (n,)."""
    kinds = {"red-text": wrong.by_text, "red-closed": wrong.is_closed, "red-open": ~wrong.is_closed}
    return kinds.get(color, np.ones(len(wrong), bool))


def _first_of_each_class(clean: CleanImages, count: int | None, seed: int) -> np.ndarray | None:
    """Indices of `count` clean images of each class, drawn by a keyed hash, ascending; None for all images."""
    if count is None:
        return None
    order = np.lexsort((keyed_hash(clean.ids, seed, "clean-part"), clean.labels))
    sizes = np.bincount(clean.labels)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < count])


def _targets(wrong: WrongImages, class_names: Sequence[str], config: NoiseConfig) -> np.ndarray:
    if config.class_map == "votes":
        known = wrong.true_labels >= 0
        return confused_targets(wrong.labels[known], wrong.true_labels[known], len(class_names))
    return mapped_targets(class_names, config.class_map if isinstance(config.class_map, dict) else {})
