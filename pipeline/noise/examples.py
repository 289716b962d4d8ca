"""Lists of examples without their pictures: what sets are picked from, and what a set has picked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from schemas.example import EXAMPLE

LISTED_SCHEMA = pa.schema([field.with_nullable(True) for field in EXAMPLE.schema if field.name != "image"])
COUNTED = ("label", "is_clean", "source", "true_label")  # what `noise_by_class` needs


@dataclass(frozen=True)
class Pool:
    """Examples that sets are picked from: a table of LISTED_SCHEMA, sorted by `places`, uint64 (n,).

    An image may be there more than once, as right and as wrong example, but only once in a set.
    """

    table: pa.Table
    places: np.ndarray


@dataclass(frozen=True)
class Listed:
    """The examples of one set: the `rows`, int64 (n,), ascending, of a pool that many sets share.

    Twenty sets of one clean set have a million examples, but hardly three different ones for each clean image.
    """

    pool: Pool
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of the examples."""
        return self.pool.table.select(list(names)).take(pa.array(self.rows))

    @property
    def examples(self) -> pa.Table:
        """The examples, in the order of their place."""
        return self.columns(LISTED_SCHEMA.names)


def make_pool(rows: pd.DataFrame) -> tuple[Pool, np.ndarray]:
    """Sort rows, which have their `place`, into a pool; columns that are not there are null.

    Returns the pool, and where each row has gone, int64 (n,).
    """
    places = rows["place"].to_numpy()
    order = np.argsort(places, kind="stable")
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    columns = {
        field.name: pa.array(rows[field.name], field.type, from_pandas=True)
        if field.name in rows
        else pa.nulls(len(rows), field.type)
        for field in LISTED_SCHEMA
    }
    table = pa.table(columns, schema=LISTED_SCHEMA).take(pa.array(order)).combine_chunks()
    return Pool(table, places[order]), position


def all_of(rows: pd.DataFrame) -> Listed:
    """A set that has a pool to itself: all `rows`, which have their `place`."""
    pool, _ = make_pool(rows)
    return Listed(pool, np.arange(len(rows)))


def licenses(sets: Iterable[Listed]) -> dict[str, int]:
    """How many different web images of all sets have each license, the most frequent first; "" where none is told."""
    columns = ["image_id", "source", "license"]
    parts = [listed.columns(columns).filter(pc.field("source") == "web") for listed in sets]
    images = pa.concat_tables(parts).to_pandas().drop_duplicates("image_id")
    counts = (
        images["license"].fillna("").value_counts().sort_index().sort_values(ascending=False, kind="stable")
    )
    return {str(name): int(count) for name, count in counts.items()}


def noise_by_class(examples: pa.Table, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows and wrong ones for each class; `examples` needs the columns COUNTED."""
    return describe_noise(count_classes(examples, len(class_names)), class_names)


def count_classes(examples: pa.Table, classes: int) -> np.ndarray:
    """Count examples by class, int64 (3, classes): rows, wrong rows, and right rows that have the class as their label.

    A blue example was taken from its true class, a web image stands in the class of its label: rows and wrong rows are
    counted in the class whose clean images gave way. `examples` needs the columns COUNTED. Counts of parts add up.
    """
    given = examples["label"].to_numpy()
    red = pc.equal(examples["source"], "web").to_numpy()
    true = examples["true_label"].fill_null(-1).to_numpy()
    labels = np.where(~red & (true >= 0), true, given)
    clean = examples["is_clean"].to_numpy(zero_copy_only=False).astype(bool)
    parts = (labels, labels[~clean], given[clean])
    return np.stack([np.bincount(part, minlength=classes) for part in parts])


def describe_noise(counts: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the counts of `count_classes` as a manifest states them: rows, wrong rows and their share, by class."""
    return [
        {"class": name, "rows": int(n), "noisy": int(k), "noise": round(k / n, 6) if n else 0.0}
        for name, n, k in zip(class_names, counts[0].tolist(), counts[1].tolist(), strict=True)
    ]


def classes_without_clean(examples: pa.Table, class_names: Sequence[str]) -> list[str]:
    """The classes under whose name no right example stands, whether wrong ones do or none; columns as COUNTED."""
    return [
        class_names[i] for i in np.flatnonzero(count_classes(examples, len(class_names))[2] == 0).tolist()
    ]
