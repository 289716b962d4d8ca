"""The training sets of a dataset as lists of examples, without their pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config import NoiseConfig
from pipeline.keyed_hash import place
from pipeline.noise.candidates import assign
from pipeline.noise.flips import asymmetric, symmetric
from pipeline.noise.selection import Selection, check_supply, select
from schemas.errors import DataError
from schemas.example import EXAMPLE

LISTED = [name for name in EXAMPLE.schema.names if name != "image"]
LISTED_SCHEMA = pa.schema([EXAMPLE.schema.field(name) for name in LISTED])
TEST_SPLIT = "test"


@dataclass(frozen=True)
class Split:
    """One training set: its colour and noise level, and its examples in the order of `place`."""

    colour: str
    noise_level: float
    examples: pa.Table

    @property
    def name(self) -> str:
        """The name of its folder, `red-0.40`."""
        two_digits = f"{self.noise_level:.2f}"
        return (
            f"{self.colour}-{two_digits if float(two_digits) == self.noise_level else repr(self.noise_level)}"
        )


def training_sets(
    clean: pd.DataFrame, wrong: pd.DataFrame, class_names: Sequence[str], config: NoiseConfig, seed: int
) -> Iterator[Split]:
    """Make every colour and level.

    `clean` has a line an image: image_id, label, url. `wrong` has a line for each verified wrong (image, label)
    pair, with the example columns that say where it came from. Raises DataError where a class is empty, or short
    of wrong images and the policy is to stop.
    """
    labels = clean["label"].to_numpy(np.int64)
    sizes = np.bincount(labels, minlength=len(class_names))
    empty = [class_names[i] for i in np.flatnonzero(sizes == 0).tolist()]
    if empty:
        raise DataError(
            f"no clean images left of {', '.join(empty)}; add some to the clean lists or drop the class"
        )
    candidates = {
        "red": assign(wrong["image_id"].to_numpy(), wrong["label"].to_numpy(), sizes, seed),
        "red-text": _assign_text(wrong, sizes, seed),
    }
    for colour in config.colours:
        # Blue takes over red's limits, so that the colours differ in nothing but the kind of noise.
        pool_of = colour if colour.startswith("red") else "red" if "red" in config.colours else None
        available = None if pool_of is None else np.array([len(pool) for pool in candidates[pool_of]])
        if available is not None and config.on_shortage == "error":
            check_supply(str(pool_of), class_names, sizes, available, config.levels)
        for level in config.levels:
            selection = select(
                clean["image_id"].to_list(), labels, level, seed, config.nested, available, config.on_shortage
            )
            if colour.startswith("red"):
                noisy = _red(clean, wrong, candidates[colour], selection)
            elif colour == "blue":
                flipped = symmetric(clean["image_id"].to_list(), labels, len(class_names), seed)
                noisy = _blue(clean, flipped, selection)
            else:
                noisy = _blue(clean, asymmetric(labels, class_names, config.class_map), selection)
            yield Split(colour, level, _listed(pd.concat([_clean(clean.iloc[selection.kept]), noisy])))


def test_set(test: pd.DataFrame) -> pa.Table:
    """The examples of the test set; `test` has image_id, label, url."""
    return _listed(_clean(test).assign(source="test"))


def _assign_text(wrong: pd.DataFrame, sizes: np.ndarray, seed: int) -> list[np.ndarray]:
    positions = np.flatnonzero((wrong["method"] == "text").to_numpy())
    text = wrong.iloc[positions]
    return [
        positions[pool] for pool in assign(text["image_id"].to_numpy(), text["label"].to_numpy(), sizes, seed)
    ]


def _clean(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(is_clean=True, true_label=rows["label"], source="clean")


def _red(
    clean: pd.DataFrame, wrong: pd.DataFrame, pools: list[np.ndarray], selection: Selection
) -> pd.DataFrame:
    """Wrong web images in the places of clean ones; the label stays."""
    slots = clean.iloc[selection.noisy]
    taken = [int(pools[label][turn]) for label, turn in zip(slots["label"], selection.turn, strict=True)]
    return wrong.iloc[taken].assign(is_clean=False, source="web", replaced=slots["image_id"].to_numpy())


def _blue(clean: pd.DataFrame, flipped: np.ndarray, selection: Selection) -> pd.DataFrame:
    """The same clean images with other labels."""
    rows = _clean(clean.iloc[selection.noisy])
    return rows.assign(label=flipped[selection.noisy], is_clean=False)


def _listed(rows: pd.DataFrame) -> pa.Table:
    rows = rows.iloc[np.argsort(place(rows["image_id"]), kind="stable")]
    columns = {
        field.name: pa.array(rows[field.name], field.type, from_pandas=True)
        if field.name in rows
        else pa.nulls(len(rows), field.type)
        for field in LISTED_SCHEMA
    }
    return pa.table(columns, schema=LISTED_SCHEMA)


def noise_by_class(examples: pa.Table, class_names: Sequence[str]) -> list[dict[str, object]]:
    """Rows and wrong ones for each class.

    A blue example was taken from its true class, a red one stands in the class of its label: noise is counted in
    the class whose clean images gave way.
    """
    labels = examples["label"].to_numpy()
    red = examples["replaced"].is_valid().to_numpy()
    true = examples["true_label"].fill_null(-1).to_numpy()
    labels = np.where(~red & (true >= 0), true, labels)
    noisy = ~examples["is_clean"].to_numpy(zero_copy_only=False).astype(bool)
    rows = np.bincount(labels, minlength=len(class_names))
    wrong = np.bincount(labels[noisy], minlength=len(class_names))
    return [
        {"class": name, "rows": int(n), "noisy": int(k), "noise": round(k / n, 6) if n else 0.0}
        for name, n, k in zip(class_names, rows, wrong, strict=True)
    ]
