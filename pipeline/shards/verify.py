"""Proves a dataset from its files alone: nothing of the build is trusted but what can be counted again."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipeline import files
from pipeline.config import DedupeConfig
from pipeline.dedupe.leaks import find_leaks
from pipeline.ingest.fingerprint import Fingerprints, fingerprint
from pipeline.ingest.normalise import open_stored
from pipeline.keyed_hash import place
from pipeline.noise.examples import noise_by_class
from pipeline.noise.splits import TEST_SPLIT
from pipeline.shards import directory
from schemas.config import build
from schemas.errors import DataError, UsageError
from schemas.example import EXAMPLE, PICTURE_SCHEMA, PICTURES, example_schema
from schemas.manifest import MANIFEST, Manifest

HASH_BATCH = 512


@dataclass
class Verification:
    """What was found wrong (`problems`: place, rule and values, in words) and what was counted (`facts`)."""

    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Set:
    """One set as read back."""

    name: str
    manifest: Manifest
    examples: pa.Table

    def ids(self) -> list[str]:
        return self.examples["image_id"].to_pylist()

    def gave_way(self) -> set[str]:
        """Clean images that are not there with their right label: replaced (red) or flipped (blue)."""
        noisy = self.examples.filter(pa.compute.invert(self.examples["is_clean"]))
        replaced, own = noisy["replaced"].to_pylist(), noisy["image_id"].to_pylist()
        return {r or i for r, i in zip(replaced, own, strict=True)}


@dataclass
class _Pictures:
    """The distinct pictures of all sets: the digest of each image's bytes, and its fingerprints."""

    digests: dict[str, bytes] = field(default_factory=dict)
    prints: list[Fingerprints] = field(default_factory=list)


def verify(dataset: str) -> Verification:
    """Re-read every file of a dataset, and check all that its manifests promise.

    Checked are: digests, sizes and rows of every shard; schema, order and uniqueness of the rows; labels and
    `is_clean`; counts and noise of every class against manifest and level; that levels nest and colours hit the same
    images; that every picture decodes and is the same in all sets; that no training picture is, or looks like, a
    test picture (fingerprints made anew). Of sets that were made as listed, noise, nesting and freedom from leaks are
    no promise: their noise must be what the manifest says it is, and leaks that only they have are counted. Raises
    DataError only if there is no dataset at all.
    """
    result = Verification()
    root = directory.read_manifest(dataset)
    pictures = _Pictures()
    sets: dict[str, _Set] = {}
    # The pictures of a shared dataset first: they are what its sets' ids stand for.
    for name, stated in sorted(_digests(root, dataset).items(), key=lambda item: item[0] != PICTURES):
        folder = files.join(dataset, name)
        try:
            digest = files.sha256(files.join(folder, MANIFEST))
            if digest != stated:
                result.problems.append(f"{name}: {MANIFEST} has been changed since the dataset was built")
            manifest = directory.read_manifest(folder)
        except DataError as error:
            result.problems.append(str(error))
            continue
        if unsaid := _unsaid(name, manifest.about):
            result.problems.append(
                f"{name}: {MANIFEST} does not say {', '.join(unsaid)}, so nothing is proved of it"
            )
            continue
        read = _read_set(folder, name, manifest, pictures, result.problems)
        if read is None or name == PICTURES:
            continue
        sets[name] = read
        result.problems += _check_set(read)
        missing = [image_id for image_id in read.ids() if image_id not in pictures.digests]
        if missing:
            result.problems.append(
                f"{name}: {len(missing)} images have no readable picture, {missing[0]} for one"
            )
    result.problems += _check_across(sets)
    result.problems += _check_leaks(sets, pictures, root.about.get("leaks", {}), result.facts)
    result.facts |= {
        "sets": len(sets),
        "examples": sum(s.examples.num_rows for s in sets.values()),
        "pictures": len(pictures.digests),
    }
    return result


def _digests(root: Manifest, dataset: str) -> dict[str, Any]:
    """What the manifest of a dataset says of those of its sets. Raises DataError where it is none of a dataset."""
    try:
        return {name: entry["manifest_sha256"] for name, entry in root.about["splits"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{dataset}: {MANIFEST} lists no sets; build it again with --force") from error


def _unsaid(name: str, about: Mapping[str, Any]) -> list[str]:
    """What the manifest of a set should say, and does not, or not as a value of its kind."""
    kinds: dict[str, Any] = {}
    if name != PICTURES:
        kinds |= {"class_names": list, "classes": list, "noise_level": int | float, "listed": dict | None}
    if name not in (PICTURES, TEST_SPLIT):
        kinds |= {"colour": str, "trial": int, "nested": bool, "blue_size": str}
    return [key for key, kind in kinds.items() if not isinstance(about.get(key), kind)]


def _read_set(
    folder: str, name: str, manifest: Manifest, pictures: _Pictures, problems: list[str]
) -> _Set | None:
    shared = manifest.about.get("mode") == "shared"
    schema = (
        PICTURE_SCHEMA
        if name == PICTURES
        else example_schema(manifest.about["class_names"], pictures=not shared)
    )
    listed = [column for column in schema.names if column != "image"]
    tables = [schema.empty_table().select(listed)]
    strays = set(files.names(folder, "*.parquet")) - {shard.file for shard in manifest.shards}
    problems += [
        f"{name}: {stray} is not of this set, but would be read with it by its folder; remove it"
        for stray in sorted(strays)
    ]
    for shard in manifest.shards:
        path = files.join(folder, shard.file)
        try:
            if files.sha256(path) != shard.sha256:
                problems.append(
                    f"{path}: the bytes are not those that were written (sha256 differs); copy it again"
                )
                return None
        except DataError as error:
            problems.append(str(error))
            return None
        try:
            for table in _batches(path, schema, shard.rows):
                tables.append(table.select(listed))
                if "image" in schema.names:
                    problems += [f"{name}: {problem}" for problem in _take_pictures(table, pictures)]
        except (DataError, pa.ArrowException, OSError) as error:
            problems.append(
                str(error) if isinstance(error, DataError) else f"{path}: cannot be read ({error})"
            )
            return None
    return _Set(name, manifest, pa.concat_tables(tables))


def _batches(path: str, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """The rows of a shard. Raises DataError where they are not what they should be."""
    with files.open_read(path) as file:
        reader = parquet.ParquetFile(file)
        if not reader.schema_arrow.equals(schema, check_metadata=True):
            raise DataError(f"{path}: columns or class names are not those of the example table")
        if reader.metadata.num_rows != rows:
            raise DataError(f"{path}: {reader.metadata.num_rows} rows, the manifest says {rows}")
        for batch in reader.iter_batches(batch_size=HASH_BATCH):
            table = pa.Table.from_batches([batch])
            for column in EXAMPLE.required:
                if column in schema.names and table[column].null_count:
                    raise DataError(f"{path}: {column} is missing in some rows")
            yield table


def _take_pictures(table: pa.Table, pictures: _Pictures) -> Iterator[str]:
    """Fingerprint the pictures that have not been seen in another set."""
    new = []
    for image_id, image in zip(table["image_id"].to_pylist(), table["image"].to_pylist(), strict=True):
        digest = hashlib.sha256(image["bytes"] or b"").digest()
        if image_id in pictures.digests:
            if pictures.digests[image_id] != digest:
                yield f"image {image_id} is another picture than in another set"
            continue
        try:
            new.append(open_stored(image["bytes"]))
        except Exception as error:
            yield f"image {image_id} does not decode ({error})"
            continue
        pictures.digests[image_id] = digest
    if new:
        pictures.prints.append(fingerprint(new))


def _check_set(read: _Set) -> Iterator[str]:
    name, about, examples = read.name, read.manifest.about, read.examples
    ids, class_names = read.ids(), about["class_names"]
    if examples.num_rows != read.manifest.rows:
        yield f"{name}: {examples.num_rows} rows, the manifest says {read.manifest.rows}"
    if len(set(ids)) < len(ids):
        yield f"{name}: an image stands in more than one row"
    places = place(ids)
    if (places[1:] < places[:-1]).any():
        yield f"{name}: rows are not in the order of their place"

    labels = examples["label"].to_numpy()
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(class_names)):
        yield f"{name}: a label is outside of 0 to {len(class_names) - 1}"
        return
    true = examples["true_label"].fill_null(-1).to_numpy()
    is_clean = examples["is_clean"].to_numpy()
    if ((true >= 0) & (is_clean != (true == labels))).any():
        yield f"{name}: is_clean contradicts label and true_label"

    counted = noise_by_class(examples, class_names)
    if counted != about["classes"]:
        yield f"{name}: rows or noise by class are not those of the manifest"
    if about.get("listed"):
        wrong = sum(row["noisy"] for row in counted)
        share, stated = round(wrong / max(1, len(ids)), 6), about["listed"].get("realised_noise")
        if share != stated:
            yield f"{name}: the share {share} of its labels is wrong, the manifest says {stated}"
    if (
        not about.get("listed") and about.get("on_shortage") != "cap"
    ):  # there nothing is promised of the noise
        yield from (f"{name}: {problem}" for problem in noise_problems(counted, about))


def noise_problems(counted: list[dict[str, Any]], about: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the noise of a set, from its `noise_by_class` and what its manifest says.

    The total is the rounded level, and each class has its share of that total, to within one image. Where clean
    images may have been left out (`shrink`) the total before that is not known: its rounding, of half an image at
    most, comes on top.
    """
    level, shrunk = about["noise_level"], about.get("on_shortage") == "shrink"
    rows, noisy = (sum(row[name] for row in counted) for name in ("rows", "noisy"))
    total = round(level * rows)
    if not shrunk and noisy != total:
        yield f"{noisy} labels of {rows} are wrong, not {total} ({level:.1%})"
    for row in counted:
        if shrunk:
            exact = abs(row["noisy"] - level * row["rows"]) < 1.5
        else:
            exact = abs(row["noisy"] * rows - total * row["rows"]) < max(1, rows)
        if not exact:
            yield f"class {row['class']} has {row['noisy']} wrong of {row['rows']}, not {level:.1%}"


def _check_across(sets: dict[str, _Set]) -> Iterator[str]:
    """Nesting within a colour, and equal choices between red and blue."""
    families: dict[tuple[str, int], list[_Set]] = {}
    for one in sets.values():
        about = one.manifest.about
        if about["colour"] and not about.get("listed"):
            families.setdefault((about["colour"], about["trial"]), []).append(one)
    for (colour, trial), family in families.items():
        family.sort(key=lambda one: one.manifest.about["noise_level"])
        for lower, higher in pairwise(family):
            if higher.manifest.about["nested"] and not _noisy_ids(lower) <= _noisy_ids(higher):
                yield f"{colour}: {higher.name} does not keep all wrong examples of {lower.name}"
        twins = {one.manifest.about["noise_level"]: one for one in families.get(("blue", trial), [])}
        for one in family if colour == "red" else []:
            blue = twins.get(one.manifest.about["noise_level"])
            if blue and blue.manifest.about["blue_size"] == "same" and one.gave_way() != blue.gave_way():
                yield f"{one.name} and {blue.name} do not hit the same clean images"


def _noisy_ids(one: _Set) -> set[tuple[str, int]]:
    noisy = one.examples.filter(pa.compute.invert(one.examples["is_clean"]))
    return set(zip(noisy["image_id"].to_pylist(), noisy["label"].to_pylist(), strict=True))


def _check_leaks(
    sets: dict[str, _Set], pictures: _Pictures, rules: dict[str, Any], facts: dict[str, Any]
) -> Iterator[str]:
    """Compare every training picture with every test picture by fingerprints made from the shards."""
    if TEST_SPLIT not in sets:
        yield "there is no readable test set, so leaks cannot be excluded"
        return
    if not pictures.prints:
        return
    test = set(sets[TEST_SPLIT].ids())
    training = {image_id for name, one in sets.items() if name != TEST_SPLIT for image_id in one.ids()}
    both = sorted(test & training)
    if both:
        yield f"{len(both)} test images are also training images, {both[0]} for one"
    ids = list(pictures.digests)
    is_test = np.array([image_id in test for image_id in ids], bool)
    facts |= {"leak_comparisons": int(is_test.sum() * (~is_test).sum()), "leaks": 0}
    if any(one.manifest.about.get("listed") for one in sets.values()):
        facts["leaks_only_in_listed_sets"] = 0

    prints = Fingerprints.join(pictures.prints)
    try:
        config = build(
            DedupeConfig, {field.name: rules[field.name] for field in fields(DedupeConfig)}, "leaks"
        )
    except (KeyError, TypeError, UsageError) as error:
        yield f"the manifest does not say by which rules leaks were searched, so they cannot be excluded ({error})"
        return
    leaks = find_leaks(prints, is_test, config)
    facts["flat_pictures"] = int((prints.contrast < config.min_contrast).sum())  # told by their bytes alone
    made, clean = set[str](), set[str]()
    for one in sets.values():
        if not one.manifest.about.get("listed"):
            made.update(one.ids())
        clean.update(one.examples.filter(pa.compute.field("source") == "clean")["image_id"].to_pylist())
    broken = []
    for a, b, bits in zip(leaks.a, leaks.b, leaks.distance_256, strict=True):
        if ids[b] not in made:
            kind = "leaks_only_in_listed_sets"
        elif config.clean_leaks == "keep" and ids[b] in clean:
            kind = "clean_leaks_kept"
        else:
            kind = "leaks"
            broken.append(
                f"training image {ids[b]} looks like test image {ids[a]} ({bits} of 256 bits differ)"
            )
        facts[kind] = facts.get(kind, 0) + 1
    yield from broken[:10]
    if len(broken) > 10:
        yield f"… and {len(broken) - 10} more training images that look like test images"
