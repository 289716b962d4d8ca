"""The training sets of a dataset as lists of examples, without their pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config import NoiseConfig
from pipeline.keyed_hash import keyed_hash, place
from pipeline.noise.candidates import assign
from pipeline.noise.flips import asymmetric, confused_targets, mapped_targets, symmetric
from pipeline.noise.selection import GiveWay, Selection, check_supply
from schemas.errors import DataError
from schemas.example import EXAMPLE

LISTED = [name for name in EXAMPLE.schema.names if name != "image"]
LISTED_SCHEMA = pa.schema([EXAMPLE.schema.field(name) for name in LISTED])
TEST_SPLIT = "test"


@dataclass(frozen=True)
class Listed:
    """Examples without their pictures, sorted by `places`, uint64 (n,)."""

    examples: pa.Table
    places: np.ndarray


@dataclass(frozen=True)
class Split:
    """One training set: its colour, noise level and trial, and its examples.

    A set that was made as a list says (`noise.listed`) has its `title` from there, and `measured`: what was found of it.
    """

    colour: str
    noise_level: float
    trial: int
    listed: Listed
    title: str = ""
    measured: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name of its folder: `red-0.40`, and `red-0.40-trial-1` for the second trial."""
        trial = f"-trial-{self.trial}" if self.trial else ""
        return self.title or f"{self.colour}-{level_text(self.noise_level)}{trial}"


def level_text(level: float) -> str:
    """A noise level as it stands in names: with two digits, or as many as it needs."""
    two_digits = f"{level:.2f}"
    return two_digits if float(two_digits) == level else repr(level)


def training_sets(
    clean: pd.DataFrame, wrong: pd.DataFrame, class_names: Sequence[str], config: NoiseConfig, seed: int
) -> Iterator[Split]:
    """Make every trial, colour and level.

    `clean` has a line an image: image_id, label, url. `wrong` has a line for each verified wrong (image, label)
    pair, with the example columns that say where it came from. Raises DataError where a class is empty, or short
    of wrong images and the policy is to stop.
    """
    sizes = np.bincount(clean["label"].to_numpy(np.int64), minlength=len(class_names))
    empty = [class_names[i] for i in np.flatnonzero(sizes == 0).tolist()]
    if empty:
        raise DataError(
            f"no clean images left of {', '.join(empty)}; add some to the clean lists or drop the class"
        )
    # Hashing ids is what planning costs, so it is done once for all sets.
    clean, wrong = (rows.assign(place=place(rows["image_id"])) for rows in (clean, wrong))
    part = clean.iloc[_first_of_each_class(clean, config.clean_per_class, seed)].reset_index(drop=True)
    targets = _targets(wrong, class_names, config)
    for trial in range(config.trials):
        draw = _Trial(class_names, config, seed + trial, wrong, part, clean, targets)
        for colour in config.colours:
            for level in config.levels:
                yield Split(colour, level, trial, draw.listed(colour, level))


def test_set(test: pd.DataFrame) -> Listed:
    """The examples of the test set; `test` has image_id, label, url."""
    return in_place_order(_clean(test.assign(place=place(test["image_id"]))).assign(source="test"))


class _Trial:
    """One independent draw: who gives way, the candidates for red noise, the flips of blue noise."""

    def __init__(
        self,
        class_names: Sequence[str],
        config: NoiseConfig,
        seed: int,
        wrong: pd.DataFrame,
        part: pd.DataFrame,
        clean: pd.DataFrame,
        targets: np.ndarray,
    ) -> None:
        self.config, self.seed, self.wrong = config, seed, wrong
        red: list[str] = [colour for colour in config.colours if colour.startswith("red")]
        text = np.flatnonzero((wrong["method"] == "text").to_numpy())
        sizes = np.bincount(part["label"], minlength=len(class_names))
        self.candidates = {
            colour: self._assign(text if colour == "red-text" else np.arange(len(wrong)), sizes)
            for colour in red
        }
        self.bases = {"red": part, "blue": part if config.blue_size == "same" else clean}
        self.orders = {"red": self._order(part)}
        self.orders["blue"] = self.orders["red"] if config.blue_size == "same" else self._order(clean)
        blue = self.bases["blue"]
        labels = blue["label"].to_numpy(np.int64)
        self.flipped = {
            "blue": symmetric(blue["image_id"].to_list(), labels, len(class_names), seed),
            "blue-asymmetric": asymmetric(labels, targets),
        }
        for colour in red if config.on_shortage == "error" else ():
            check_supply(colour, class_names, self.orders["red"], self._available(colour), config.levels)

    def listed(self, colour: str, level: float) -> Listed:
        """The examples of a colour and level."""
        hue = colour.partition("-")[0]
        base, limited_by = self.bases[hue], colour
        if hue == "blue":
            # Blue takes over red's limits, so that the colours differ in nothing but the kind of noise.
            limited_by = "red" if self.config.blue_size == "same" else ""
        available = self._available(limited_by) if limited_by in self.candidates else None
        selection = self.orders[hue].select(level, available, self.config.on_shortage)
        if hue == "red":
            noisy = self._red(base, self.candidates[colour], selection)
        else:
            noisy = _clean(base.iloc[selection.noisy])
            noisy = noisy.assign(label=self.flipped[colour][selection.noisy], is_clean=False)
        return in_place_order(pd.concat([_clean(base.iloc[selection.kept]), noisy]))

    def _order(self, base: pd.DataFrame) -> GiveWay:
        ids, labels = base["image_id"].to_list(), base["label"].to_numpy(np.int64)
        return GiveWay(ids, labels, self.config.levels, self.seed, self.config.nested)

    def _assign(self, positions: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        rows = self.wrong.iloc[positions]
        pools = assign(rows["image_id"].to_numpy(), rows["label"].to_numpy(), sizes, self.seed)
        return [positions[pool] for pool in pools]

    def _available(self, colour: str) -> np.ndarray:
        return np.array([len(pool) for pool in self.candidates[colour]])

    def _red(self, clean: pd.DataFrame, pools: list[np.ndarray], selection: Selection) -> pd.DataFrame:
        """Wrong web images in the places of clean ones; the label stays."""
        slots = clean.iloc[selection.noisy]
        taken = [int(pools[label][turn]) for label, turn in zip(slots["label"], selection.turn, strict=True)]
        return self.wrong.iloc[taken].assign(
            is_clean=False, source="web", replaced=slots["image_id"].to_numpy()
        )


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


def in_place_order(rows: pd.DataFrame) -> Listed:
    """Rows, which have their `place`, as examples in its order; other columns that are not there are null."""
    places = rows["place"].to_numpy()
    order = np.argsort(places, kind="stable")
    rows = rows.iloc[order]
    columns = {
        field.name: pa.array(rows[field.name], field.type, from_pandas=True)
        if field.name in rows
        else pa.nulls(len(rows), field.type)
        for field in LISTED_SCHEMA
    }
    return Listed(pa.table(columns, schema=LISTED_SCHEMA), places[order])


def noise_by_class(examples: pa.Table, class_names: Sequence[str]) -> list[dict[str, object]]:
    """Rows and wrong ones for each class.

    A blue example was taken from its true class, a web image stands in the class of its label: noise is counted in
    the class whose clean images gave way.
    """
    labels = examples["label"].to_numpy()
    red = pa.compute.equal(examples["source"], "web").to_numpy()
    true = examples["true_label"].fill_null(-1).to_numpy()
    labels = np.where(~red & (true >= 0), true, labels)
    noisy = ~examples["is_clean"].to_numpy(zero_copy_only=False).astype(bool)
    rows = np.bincount(labels, minlength=len(class_names))
    wrong = np.bincount(labels[noisy], minlength=len(class_names))
    return [
        {"class": name, "rows": int(n), "noisy": int(k), "noise": round(k / n, 6) if n else 0.0}
        for name, n, k in zip(class_names, rows, wrong, strict=True)
    ]
