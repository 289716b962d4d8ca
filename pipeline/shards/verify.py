"""Proves a dataset from its files alone: nothing of the build is trusted but what can be counted again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import files
from pipeline.config import DedupeConfig
from pipeline.dedupe.leaks import find_leaks
from pipeline.ingest.fingerprint import Fingerprints
from pipeline.keyed_hash import place
from pipeline.noise.examples import classes_without_clean, noise_by_class
from pipeline.shards import directory
from pipeline.shards.read_back import Pictures, ReadSet, read_set, unsaid
from schemas.config import build, output_names
from schemas.errors import DataError, UsageError
from schemas.example import PICTURES, TEST_SPLIT
from schemas.manifest import MANIFEST, Manifest

HASH_BATCH = 512


@dataclass
class Verification:
    """What was found wrong (`problems`: place, rule and values, in words) and what was counted (`facts`)."""

    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


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
    pictures = Pictures()
    sets: dict[str, ReadSet] = {}
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
        if silent := unsaid(name, manifest.about):
            result.problems.append(
                f"{name}: {MANIFEST} does not say {', '.join(silent)}, so nothing is proved of it"
            )
            continue
        read = read_set(folder, name, manifest, pictures, result.problems)
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
        above = dataset.rstrip("/").rpartition("/")[0] or "."
        remedy = "build it again with --force"
        if files.exists(files.join(above, MANIFEST)):
            remedy = f"did you mean {above}?"
        raise DataError(f"{dataset}: {MANIFEST} lists no sets; {remedy}") from error


def _check_set(read: ReadSet) -> Iterator[str]:
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
    lacking = classes_without_clean(examples, class_names) if about["colour"] else []
    if lacking != about.get("classes_without_clean", []):
        yield f"{name}: the classes without a clean image ({', '.join(lacking) or 'none'}) are not those of the manifest"
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
    images may have been left out (`shrink`), the total is within half an image of the level, and each class within one
    and a half: half of one is the rounding of the total before.
    """
    level, shrunk = about["noise_level"], about.get("on_shortage") == "shrink"
    rows, noisy = (sum(row[name] for row in counted) for name in ("rows", "noisy"))
    total = round(level * rows)
    if noisy != total if not shrunk else abs(noisy - level * rows) > 0.5 + 1e-9:
        yield f"{noisy} labels of {rows} are wrong, not {total} ({level:.1%})"
    for row in counted:
        if shrunk:
            exact = abs(row["noisy"] - level * row["rows"]) < 1.5
        else:
            exact = abs(row["noisy"] * rows - total * row["rows"]) < max(1, rows)
        if not exact:
            yield f"class {row['class']} has {row['noisy']} wrong of {row['rows']}, not {level:.1%}"


def _check_across(sets: dict[str, ReadSet]) -> Iterator[str]:
    """Nesting within a colour, and equal choices between red and blue."""
    families: dict[tuple[str, int], list[ReadSet]] = {}
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


def _noisy_ids(one: ReadSet) -> set[tuple[str, int]]:
    noisy = one.examples.filter(pa.compute.invert(one.examples["is_clean"]))
    return set(zip(noisy["image_id"].to_pylist(), noisy["label"].to_pylist(), strict=True))


def _check_leaks(
    sets: dict[str, ReadSet], pictures: Pictures, rules: dict[str, Any], facts: dict[str, Any]
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
        config = build(DedupeConfig, {name: rules[name] for name in output_names(DedupeConfig)}, "leaks")
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
