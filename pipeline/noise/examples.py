"""Lists of examples without their images: the different examples of many sets, and the rows of each set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.noise.pools import PoolPart, Pools
from pipeline.noise.training_sets import TrainingSet
from schemas.example import EXAMPLE

LIST_SCHEMA = pa.schema([field.with_nullable(True) for field in EXAMPLE.schema if field.name != "image"])
COUNTED = ("label", "is_clean", "source", "true_label")  # the columns that `noise_by_class` needs


@dataclass(frozen=True)
class ExamplePool:
    """The different examples of some sets: a table of LIST_SCHEMA, sorted by `shard_keys`, uint64 (n,).

    sets: the rows of each set, int (k,), ascending, by the set's name. An image may be in the pool more than once, as
    right and as wrong example, but only once in a set.
    """

    table: pa.Table
    shard_keys: np.ndarray
    sets: Mapping[str, np.ndarray]


def as_examples(rows: pa.Table, **values: Any) -> pa.Table:
    """Return rows as a table of LIST_SCHEMA; `values` replace columns, and columns that neither has are null."""
    assert set(values) <= set(LIST_SCHEMA.names)
    columns = []
    for field in LIST_SCHEMA:
        value = values.get(field.name, rows[field.name] if field.name in rows.column_names else None)
        if value is None:
            value = pa.nulls(rows.num_rows, field.type)
        elif not isinstance(value, pa.Array | pa.ChunkedArray):
            value = pa.array(value) if isinstance(value, np.ndarray) else pa.repeat(value, rows.num_rows)
        columns.append(value.cast(field.type))
    return pa.table(columns, schema=LIST_SCHEMA)


def test_examples(name: str, part: PoolPart, shard_keys: np.ndarray) -> ExamplePool:
    """Return the examples of the test set in one part, all of them right."""
    return whole_pool(name, as_examples(part.test, is_clean=True, source="test"), shard_keys)


def whole_pool(name: str, table: pa.Table, shard_keys: np.ndarray) -> ExamplePool:
    """Sort a table of LIST_SCHEMA into the pool of a single set that has all its rows."""
    order = np.argsort(shard_keys, kind="stable")
    return ExamplePool(table.take(pa.array(order)), shard_keys[order], {name: np.arange(len(order))})


def training_examples(sets: Sequence[TrainingSet], pools: Pools, part: PoolPart, index: int) -> ExamplePool:
    """Return the examples of sets of one trial that belong to the part `index`.

    Twenty sets of one clean set have hardly three different examples for each clean image: it stays, a wrong image stands
    in its place, or its label is flipped.
    """
    clean, wrong = pools.clean, pools.wrong
    clean_start, clean_end = pools.clean_starts[index : index + 2].tolist()
    wrong_start, wrong_end = pools.wrong_starts[index : index + 2].tolist()
    # The key of an example: a clean image as it is, (replaced image, wrong image), or (image, wrong label).
    span = max(len(wrong), int(clean.labels.max(initial=0)) + 1, 1)
    kept_keys, noisy_keys = [], []
    for each in sets:
        kept_keys.append(_between(each.kept, clean_start, clean_end).astype(np.int64))
        if each.wrong is not None:
            low, high = np.searchsorted(each.wrong, [wrong_start, wrong_end])
            other = each.wrong
        else:
            assert each.flipped is not None
            low, high = np.searchsorted(each.replaced, [clean_start, clean_end])
            other = each.flipped
        noisy_keys.append(each.replaced[low:high].astype(np.int64) * span + other[low:high])
    kept = _distinct(kept_keys)
    red = _distinct([keys for keys, each in zip(noisy_keys, sets, strict=True) if each.wrong is not None])
    blue = _distinct([keys for keys, each in zip(noisy_keys, sets, strict=True) if each.wrong is None])
    (red_slots, red_rows), (blue_rows, blue_labels) = np.divmod(red, span), np.divmod(blue, span)
    keys = np.concatenate([clean.shard_keys[kept], wrong.shard_keys[red_rows], clean.shard_keys[blue_rows]])
    order = np.argsort(keys, kind="stable")
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))

    base = pa.concat_tables([as_examples(part.clean, source="clean"), as_examples(part.wrong, source="web")])
    rows = np.concatenate(
        [kept - clean_start, part.clean.num_rows + red_rows - wrong_start, blue_rows - clean_start]
    )[order]
    labels = np.concatenate([clean.labels[kept], wrong.labels[red_rows], blue_labels])[order]
    slots = np.concatenate([kept, red_slots, blue_rows])[order]
    table = base.combine_chunks().take(pa.array(rows))
    is_red = (order >= len(kept)) & (order < len(kept) + len(red))
    is_blue = pa.array(order >= len(kept) + len(red))
    table = as_examples(
        table,
        label=labels,
        is_clean=order < len(kept),
        # The image of a flipped label shows its true class, which is listed.
        noise_type=pc.if_else(is_blue, "closed", table["noise_type"]),
        replaced_image_id=clean.ids.take(pa.array(slots, mask=~is_red)),
    )
    found = {}
    for each, keep, noisy in zip(sets, kept_keys, noisy_keys, strict=True):
        if each.wrong is not None:
            noisy_at = len(kept) + np.searchsorted(red, noisy)
        else:
            noisy_at = len(kept) + len(red) + np.searchsorted(blue, noisy)
        found[each.name] = np.sort(position[np.concatenate([np.searchsorted(kept, keep), noisy_at])])
    return ExamplePool(table, keys[order], found)


def _distinct(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the distinct keys of all parts, int64, ascending."""
    return np.unique(np.concatenate([np.empty(0, np.int64), *parts]))


def _between(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Return the values from `low` up to less than `high` of ascending ones."""
    start, end = np.searchsorted(values, [low, high])
    return values[start:end]


def count_licenses(pools: Sequence[ExamplePool]) -> Counter[str]:
    """Count the different web images of all pools by license; "" where the license is unknown."""
    columns = ["image_id", "source", "license"]
    rows = pa.concat_tables([pool.table.select(columns) for pool in pools])
    web = rows.filter(pc.equal(rows["source"], "web")).to_pandas().drop_duplicates("image_id")
    return Counter(web["license"].fillna("").value_counts().to_dict())


def noise_of_set(
    training_set: TrainingSet, clean_labels: np.ndarray, class_names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what `noise_by_class` and `classes_without_clean` say of the examples of a drawn set."""
    classes = len(class_names)
    right = np.bincount(clean_labels[training_set.kept], minlength=classes)
    noisy = np.bincount(clean_labels[training_set.replaced], minlength=classes)
    lacking = [class_names[i] for i in np.flatnonzero(right == 0).tolist()]
    return class_noise(right + noisy, noisy, class_names), lacking


def noise_by_class(examples: pa.Table, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows and wrong ones for each class; `examples` needs the columns COUNTED."""
    counts = count_classes(examples, len(class_names))
    return class_noise(counts[0], counts[1], class_names)


def count_classes(examples: pa.Table, classes: int) -> np.ndarray:
    """Count examples by class, int64 (3, classes): rows, wrong rows, and right rows that have the class as their label.

    A blue example was taken from its true class, a web image stands in the class of its label: rows and wrong rows are
    counted in the class whose clean images were replaced. `examples` needs the columns COUNTED. Counts of parts add up.
    """
    given = examples["label"].to_numpy()
    red = pc.equal(examples["source"], "web").to_numpy()
    true = examples["true_label"].fill_null(-1).to_numpy()
    labels = np.where(~red & (true >= 0), true, given)
    clean = examples["is_clean"].to_numpy(zero_copy_only=False).astype(bool)
    parts = (labels, labels[~clean], given[clean])
    return np.stack([np.bincount(part, minlength=classes) for part in parts])


def class_noise(rows: np.ndarray, noisy: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the entries of a manifest for the rows and the wrong rows of each class, both int (classes,)."""
    return [
        {"class": name, "rows": int(n), "noisy": int(k), "noise": round(k / n, 6) if n else 0.0}
        for name, n, k in zip(class_names, rows.tolist(), noisy.tolist(), strict=True)
    ]


def classes_without_clean(examples: pa.Table, class_names: Sequence[str]) -> list[str]:
    """Return the classes that no right example of `examples` has as its label; columns as COUNTED."""
    right = count_classes(examples, len(class_names))[2]
    return [class_names[i] for i in np.flatnonzero(right == 0).tolist()]
