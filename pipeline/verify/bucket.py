"""Check the rows and images of all sets in one bucket: what one task does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.keyed_hash import bucket, shard_key
from pipeline.noise.examples import count_classes
from pipeline.noise.true_level import millionths_wrong
from pipeline.shards.directory import shard_position
from pipeline.verify.batches import batches
from pipeline.verify.clean_images import CleanImages, group_clean_images
from pipeline.verify.images import BucketImages
from pipeline.verify.plan import Bucket, PlannedSet, VerificationPlan
from pipeline.verify.tally import Tally
from schemas.example import EXAMPLE, SHARED_IMAGES, TEST_SET
from schemas.table import UNREADABLE

_COLUMNS = (
    "image_id",
    "label",
    "is_clean",
    "source",
    "true_label",
    "noise_type",
    "p_wrong",
    "replaced_image_id",
)


@dataclass
class BucketResult:
    """What a bucket contributes: sums, and rows for the checks that need other buckets.

    training_group: the group of its training images. clean_images: packed rows for `check_clean_images`, by group.
    test_hashes, training_hashes: packed hashes of its images, for the search of leaks; None where there are none.
    """

    training_group: int
    tally: Tally = field(default_factory=Tally)
    clean_images: dict[int, bytes] = field(default_factory=dict)
    test_hashes: bytes | None = None
    training_hashes: bytes | None = None


@dataclass(frozen=True)
class SetRows:
    """The rows of a set in a bucket. images: index of the image of each row in the list of all images of the bucket."""

    planned: PlannedSet
    rows: pa.Table
    images: np.ndarray

    def wrong(self) -> np.ndarray:
        """The wrong examples as one number each: that of image and label."""
        wrong = ~_flags(self.rows["is_clean"])
        labels = self.rows["label"].to_numpy()[wrong]
        return self.images[wrong] * len(self.planned.about["class_names"]) + labels


def check_bucket(part: Bucket, plan: VerificationPlan) -> BucketResult:
    """Read every shard of a bucket once, check it, and compare the sets with each other."""
    result = BucketResult(part.index * plan.training_groups // plan.buckets)
    images = BucketImages(result.tally, plan.resize, plan.rules)
    tables = {}
    for name in sorted(
        part.shards, key=lambda name: (name != SHARED_IMAGES, name)
    ):  # sets refer to shared images
        table = _read_set(part, plan, name, images, result.tally)
        if table is not None and name != SHARED_IMAGES:
            tables[name] = table
    empty = pa.table({"image_id": pa.array([], pa.string())})
    ids = pa.concat_tables([empty, *(table.select(["image_id"]) for table in tables.values())])["image_id"]
    ids = pc.unique(ids)
    keys = shard_key(ids.to_pylist())
    sets = {}
    for name, table in tables.items():
        index = pc.index_in(table["image_id"], ids).to_numpy()
        planned = plan.sets[name]
        _check_order(planned, part, table.num_rows, keys[index], result.tally)
        valid = _check_rows(planned, table, images, result.tally)
        sets[name] = SetRows(planned, table.filter(pa.array(valid)), index[valid])
    _check_nesting(sets, plan, ids, result.tally)
    test = sets[TEST_SET].images if TEST_SET in sets else np.empty(0, np.int64)
    training = {name: each for name, each in sets.items() if name != TEST_SET}
    both = np.intersect1d(
        test, np.concatenate([np.empty(0, np.int64), *(s.images for s in training.values())])
    )
    result.tally.add_finding(("both",), ids.take(pa.array(both)).to_pylist())
    result.clean_images = group_clean_images(
        [_clean_images(sets, each) for each in plan.drawn()], plan, result.tally
    )
    is_test = np.zeros(len(ids), bool)
    is_test[test] = True
    result.test_hashes, result.training_hashes = images.packed_hashes(
        set(ids.filter(pa.array(is_test)).to_pylist())
    )
    return result


def _read_set(
    part: Bucket, plan: VerificationPlan, name: str, images: BucketImages, tally: Tally
) -> pa.Table | None:
    """Return the rows of a set without its images, which go to `images`; None if a shard cannot be used."""
    schema = plan.schema_of(name)
    columns = [column for column in _COLUMNS if column in schema.names]
    tables = [schema.empty_table().select(columns)]
    for shard in part.shards[name]:
        path = files.join(plan.dataset, name, shard.file)
        try:
            if files.sha256(path) != shard.sha256:
                raise DataError(
                    f"{path}: the bytes are not those that were written (sha256 differs); copy the file again"
                )
            for table in _batches(path, schema, shard.rows, _required(plan.sets[name])):
                tables.append(table.select(columns))
                if "image" in schema.names:
                    images.add(name, table)
        except (DataError, *UNREADABLE) as error:
            reason = error if path in str(error) else f"{path}: cannot be read ({error})"
            tally.add_finding(("unreadable", name), [str(reason)])
            return None
    return pa.concat_tables(tables).combine_chunks()


def _required(planned: PlannedSet) -> list[str]:
    """Return the columns that no row may lack: not the image, if the set states that some are withheld."""
    return [name for name in EXAMPLE.required if not (name == "image" and planned.withheld)]


def _batches(path: str, schema: pa.Schema, rows: int, required: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows of a shard. Raises DataError if they do not match the schema and the manifest."""
    with files.open_read(path) as file:
        reader = parquet.ParquetFile(file)
        if not reader.schema_arrow.equals(schema, check_metadata=True):
            raise DataError(f"{path}: columns or class names are not those of the example table")
        if reader.metadata.num_rows != rows:
            raise DataError(f"{path}: {reader.metadata.num_rows} rows, the manifest says {rows}")
        for table in batches(file):
            for column in required:
                if column in schema.names and table[column].null_count:
                    raise DataError(f"{path}: {column} is missing in some rows")
            yield table


def _check_order(planned: PlannedSet, part: Bucket, rows: int, keys: np.ndarray, tally: Tally) -> None:
    """Count rows that are not in the shard or not in the order of their shard keys."""
    shards = part.shards[planned.name]
    expected = np.repeat(
        [shard_position(shard.file)[0] for shard in shards], [shard.rows for shard in shards]
    )
    misplaced = bucket(keys, planned.buckets) != expected
    misplaced[1:] |= keys[1:] < keys[:-1]
    tally.add_finding(("order", planned.name), [""] * int(misplaced.sum()))
    tally.counts[("rows", planned.name)] += rows


def _check_rows(planned: PlannedSet, table: pa.Table, images: BucketImages, tally: Tally) -> np.ndarray:
    """Check each row by itself, and count the classes; return which rows have valid labels, bool (rows,)."""
    name, ids = planned.name, table["image_id"]

    def report(rule: str, broken: np.ndarray) -> None:
        tally.add_finding((rule, name), ids.filter(pa.array(broken)).to_pylist())

    classes = len(planned.about["class_names"])
    labels = table["label"].to_numpy()
    true_labels = table["true_label"].fill_null(-1).to_numpy()
    is_clean, source = _flags(table["is_clean"]), table["source"]
    valid = (labels >= 0) & (labels < classes) & (true_labels >= -1) & (true_labels < classes)
    report("label", ~valid)
    report("is_clean", (true_labels >= 0) & (is_clean != (true_labels == labels)))
    noise_type = table["noise_type"].fill_null("")
    is_closed = _flags(pc.equal(noise_type, "closed"))
    is_named = is_closed | _flags(pc.equal(noise_type, "open"))
    is_clear = _flags(pc.equal(noise_type, ""))
    report("noise_type", np.where(is_clean, ~is_clear, ~is_named | (true_labels >= 0) & ~is_closed))
    tally.counts[("p_wrong", name)] += millionths_wrong(table)
    p_wrong = table["p_wrong"].fill_null(0).to_numpy()
    report("p_wrong", ~((p_wrong >= 0) & (p_wrong <= 1)))
    is_from_test = _flags(pc.equal(source, "test"))
    report("source", ~(is_from_test & is_clean) if name == TEST_SET else is_from_test)
    counts = ids.value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    tally.add_finding(("repeated", name), repeated.field("values").to_pylist())
    report("no_image", np.array([image_id not in images.digests for image_id in ids.to_pylist()], bool))
    tally.class_counts[name] = count_classes(table.filter(pa.array(valid)), classes)
    return valid


def _check_nesting(sets: Mapping[str, SetRows], plan: VerificationPlan, ids: pa.Array, tally: Tally) -> None:
    """Check that within a color and trial, a higher level keeps all wrong examples of the next lower one."""
    for lower, higher in nested_pairs(plan):
        if lower.name not in sets:
            continue
        kept = sets[higher.name].wrong() if higher.name in sets else np.empty(0, np.int64)
        lost = np.setdiff1d(sets[lower.name].wrong(), kept) // len(lower.about["class_names"])
        tally.add_finding(("nesting", lower.name, higher.name), ids.take(pa.array(lost)).to_pylist())


def nested_pairs(plan: VerificationPlan) -> Iterator[tuple[PlannedSet, PlannedSet]]:
    """Yield each two neighboring levels of a color and trial that must nest."""
    families: dict[tuple[str, int], list[PlannedSet]] = {}
    for each in plan.drawn():
        families.setdefault((each.about["color"], each.about["trial"]), []).append(each)
    for family in families.values():
        family.sort(key=lambda each: float(each.about["noise_level"]))
        for lower, higher in pairwise(family):
            if higher.about["nested"] and lower.about["class_names"] == higher.about["class_names"]:
                yield lower, higher


def _clean_images(sets: Mapping[str, SetRows], planned: PlannedSet) -> CleanImages:
    """Return the clean images that a drawn set keeps with their right label, and those that it replaces or relabels."""
    none = pa.array([], pa.string())
    if planned.name not in sets:
        return CleanImages(none, none)
    rows = sets[planned.name].rows
    noisy = rows.filter(pc.invert(rows["is_clean"]))
    kept = rows["image_id"].filter(rows["is_clean"])
    changed = pc.coalesce(
        noisy["replaced_image_id"], noisy["image_id"]
    )  # red noise: replaced; blue noise: relabeled
    return CleanImages(kept.combine_chunks(), changed.combine_chunks())


def _flags(column: pa.ChunkedArray) -> np.ndarray:
    flags: np.ndarray = column.to_numpy().astype(bool)
    return flags
