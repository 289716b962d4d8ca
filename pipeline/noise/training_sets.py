"""The training sets of a dataset as lists of examples, without their pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.errors import DataError
from pipeline.config import PAPER_LEVELS, NoiseConfig
from pipeline.keyed_hash import keyed_hash, shard_key
from pipeline.noise.candidates import assign
from pipeline.noise.examples import Listed, all_of, make_pool
from pipeline.noise.flips import asymmetric, confused_targets, mapped_targets, symmetric
from pipeline.noise.selection import GiveWay, check_clean_left, check_supply
from pipeline.noise.supply import Supply


@dataclass(frozen=True)
class TrainingSet:
    """One training set: its color, noise level and trial, and its examples.

    A set that was made as a list says (`noise.listed`) has its `title` from there, and `measured`: what was found of it.
    """

    color: str
    noise_level: float
    trial: int
    listed: Listed
    title: str = ""
    measured: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.title or set_name(self.color, self.noise_level, self.trial)


def set_name(color: str, level: float, trial: int) -> str:
    """Return the name of a set: `red-0.40`, and `red-0.40-trial-1` for the second trial."""
    return f"{color}-{level_text(level)}" + (f"-trial-{trial}" if trial else "")


def level_text(level: float) -> str:
    """A noise level as it stands in names: with two digits, or as many as it needs."""
    two_digits = f"{level:.2f}"
    return two_digits if float(two_digits) == level else repr(level)


def training_sets(
    clean: pd.DataFrame,
    wrong: pd.DataFrame,
    class_names: Sequence[str],
    config: NoiseConfig,
    seed: int,
    supply: Supply | None = None,
) -> Iterator[TrainingSet]:
    """Make every trial, color and level.

    `clean` has a line an image: image_id, label, url. `wrong` has a line for each verified wrong (image, label)
    pair, with the example columns that say where it came from. Without `config.levels`, the levels of the paper are
    made that all classes have enough wrong images for. Raises DataError, with what `supply` says of the reasons, where a
    class is empty, or short of wrong images and the policy is to stop.
    """
    sizes = np.bincount(clean["label"].to_numpy(np.int64), minlength=len(class_names))
    empty = [class_names[i] for i in np.flatnonzero(sizes == 0).tolist()]
    if empty:
        raise DataError(
            f"no clean images left of {', '.join(empty)}; add some to the clean lists or drop the class"
        )
    # Hashing ids is what planning costs, so it is done once for all sets.
    clean, wrong = (
        rows.assign(place=shard_key(rows["image_id"])).reset_index(drop=True) for rows in (clean, wrong)
    )
    part = _first_of_each_class(clean, config.clean_per_class, seed)
    targets = _targets(wrong, class_names, config)
    levels = PAPER_LEVELS if config.levels is None else config.levels

    def trial(number: int, levels: Sequence[float]) -> _Trial:
        return _Trial(class_names, config, levels, seed, number, clean, wrong, part, targets)

    if config.levels is None and config.on_shortage == "error":
        trials = [trial(number, levels) for number in range(config.trials)]
        levels = tuple(level for level in levels if all(one.has_enough(level) for one in trials))
        if not any(levels):  # not even the lowest
            levels = PAPER_LEVELS[:2]
    for number in range(config.trials):
        one = trial(number, levels)
        if config.on_shortage == "error":
            one.check_supply(supply)
        yield from one.splits()


def test_set(test: pd.DataFrame) -> Listed:
    """The examples of the test set; `test` has image_id, label, url."""
    return all_of(_clean(test.assign(place=shard_key(test["image_id"]))).assign(source="test"))


@dataclass(frozen=True)
class _Chosen:
    """What a set is made of: positions of clean images that stay, and of those that give way, each to `instead`.

    That is a position in the wrong images for red, a wrong label for blue.
    """

    kept: np.ndarray
    noisy: np.ndarray
    instead: np.ndarray


class _Trial:
    """One independent draw: who gives way, the candidates for red noise, the flips of blue noise.

    part: positions of the clean images that red sets use.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        config: NoiseConfig,
        levels: Sequence[float],
        seed: int,
        trial: int,
        clean: pd.DataFrame,
        wrong: pd.DataFrame,
        part: np.ndarray,
        targets: np.ndarray,
    ) -> None:
        self.config, self.seed, self.trial, self.clean, self.wrong = config, seed + trial, trial, clean, wrong
        self.class_names, self.levels = class_names, levels
        red: list[str] = [color for color in config.colors if color.startswith("red")]
        text = np.flatnonzero((wrong["method"] == "text").to_numpy())
        labels = clean["label"].to_numpy(np.int64)
        sizes = np.bincount(labels[part], minlength=len(class_names))
        self.candidates = {
            color: self._assign(text if color == "red-text" else np.arange(len(wrong)), sizes)
            for color in red
        }
        self.bases, self.orders = {"red": part, "blue": part}, {"red": self._order(part)}
        self.orders["blue"] = self.orders["red"]
        if config.blue_size == "all":
            self.bases["blue"] = np.arange(len(clean))
            self.orders["blue"] = self._order(self.bases["blue"])
        self.flipped = {}
        if "blue" in config.colors:
            self.flipped["blue"] = symmetric(clean["image_id"].to_list(), labels, len(class_names), self.seed)
        if "blue-asymmetric" in config.colors:
            self.flipped["blue-asymmetric"] = asymmetric(labels, targets)

    def has_enough(self, level: float) -> bool:
        """Whether every class has enough wrong images for a level, in all colors."""
        wanted = self.orders["red"].wanted(level)
        return all((wanted <= self._available(color)).all() for color in self.candidates)

    def check_supply(self, supply: Supply | None) -> None:
        """Raise DataError where a class has fewer wrong images than the highest level needs."""
        for color in self.candidates:
            available = self._available(color)
            check_supply(color, self.class_names, self.orders["red"], available, self.levels, supply)

    def splits(self) -> Iterator[TrainingSet]:
        """The sets of all colors and levels, picked from one pool."""
        sets = [(color, level) for color in self.config.colors for level in self.levels]
        chosen = [self._choose(color, level) for color, level in sets]
        # Most wrong examples are in many sets: a (clean image, what stands instead) pair is one row of the pool.
        span = max(len(self.wrong), len(self.orders["red"].sizes))
        red = [color in self.candidates for color, _ in sets]
        keys = [one.noisy * span + one.instead for one in chosen]
        none = np.empty(0, np.int64)
        web = np.unique(
            np.concatenate([none, *(key for key, is_red in zip(keys, red, strict=True) if is_red)])
        )
        flips = np.unique(
            np.concatenate([none, *(k for k, is_red in zip(keys, red, strict=True) if not is_red)])
        )
        blocks = [_clean(self.clean), self._red(*divmod(web, span)), self._blue(*divmod(flips, span))]
        pool, position = make_pool(pd.concat(blocks, ignore_index=True))
        starts = np.cumsum([0, *map(len, blocks)])
        for (color, level), one, key, is_red in zip(sets, chosen, keys, red, strict=True):
            noisy = (
                starts[1] + np.searchsorted(web, key) if is_red else starts[2] + np.searchsorted(flips, key)
            )
            rows = np.sort(position[np.concatenate([one.kept, noisy])])
            yield TrainingSet(color, level, self.trial, Listed(pool, rows))

    def _choose(self, color: str, level: float) -> _Chosen:
        hue = color.partition("-")[0]
        base, limited_by = self.bases[hue], color
        if hue == "blue":
            # Blue takes over red's limits, so that the colors differ in nothing but the kind of noise.
            limited_by = "red" if self.config.blue_size == "same" else ""
        available = self._available(limited_by) if limited_by in self.candidates else None
        selection = self.orders[hue].select(level, available, self.config.on_shortage)
        noisy = base[selection.noisy]
        labels = self.clean["label"].to_numpy(np.int64)
        if available is not None and self.config.on_shortage == "shrink":
            name, allowed = set_name(color, level, self.trial), self.config.may_vanish
            check_clean_left(name, self.class_names, labels[base[selection.kept]], allowed)
        if hue == "red":
            starts = np.cumsum([0, *self._available(color)])
            instead = np.concatenate(self.candidates[color])[starts[labels[noisy]] + selection.turn]
        else:
            instead = self.flipped[color][noisy]
        return _Chosen(base[selection.kept], noisy, instead)

    def _order(self, base: np.ndarray) -> GiveWay:
        ids, labels = self.clean["image_id"].to_numpy()[base], self.clean["label"].to_numpy(np.int64)[base]
        return GiveWay(ids, labels, self.levels, self.seed, self.config.nested)

    def _assign(self, positions: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        rows = self.wrong.iloc[positions]
        pools = assign(rows["image_id"].to_numpy(), rows["label"].to_numpy(), sizes, self.seed)
        return [positions[pool] for pool in pools]

    def _available(self, color: str) -> np.ndarray:
        return np.array([len(pool) for pool in self.candidates[color]])

    def _red(self, slots: np.ndarray, web: np.ndarray) -> pd.DataFrame:
        """Wrong web images in the places of clean ones; the label stays."""
        replaced = self.clean["image_id"].to_numpy()[slots]
        return self.wrong.iloc[web].assign(is_clean=False, source="web", replaced=replaced)

    def _blue(self, slots: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
        """Clean images with wrong labels."""
        return _clean(self.clean.iloc[slots]).assign(label=labels, is_clean=False)


def _first_of_each_class(clean: pd.DataFrame, count: int | None, seed: int) -> np.ndarray:
    """Positions of `count` clean images of each class, drawn by a keyed hash; of all, in their order, for None."""
    if count is None:
        return np.arange(len(clean))
    order = clean.assign(_turn=keyed_hash(clean["image_id"], seed, "clean-part")).sort_values(
        ["_turn", "image_id"]
    )
    return np.sort(order.groupby("label", sort=False).head(count).index.to_numpy())


def _targets(wrong: pd.DataFrame, class_names: Sequence[str], config: NoiseConfig) -> np.ndarray:
    if config.class_map == "votes":
        known = wrong[wrong["true_label"].notna()]
        labels, true = (known[name].to_numpy(np.int64) for name in ("label", "true_label"))
        return confused_targets(labels, true, len(class_names))
    return mapped_targets(class_names, config.class_map if isinstance(config.class_map, dict) else {})


def _clean(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(is_clean=True, true_label=rows["label"], source="clean")
