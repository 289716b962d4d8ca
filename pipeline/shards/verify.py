"""Proves a dataset from its files alone: nothing of the build is trusted but what can be counted again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.config import output_values
from common.errors import DataError
from pipeline import files
from pipeline.keyed_hash import shard_key
from pipeline.noise.examples import classes_without_clean, noise_by_class
from pipeline.shards import directory
from pipeline.shards.across import check_across, check_name
from pipeline.shards.facts import invalid_facts, read_root
from pipeline.shards.leak_check import changed_rules, check_leaks, leak_rules
from pipeline.shards.read_back import Pictures, ReadSet, read_set
from schemas.example import SHARED_IMAGES
from schemas.manifest import CARD, CROISSANT, MANIFEST, Manifest


@dataclass
class Verification:
    """What was found wrong (`problems`: place, rule and values, in words) and what was counted (`facts`).

    root_sha256: of the dataset's manifest, which holds the digests of everything else. leak_rules: those by which leaks
    were searched; changed_rules: the defaults of those that differ from them.
    """

    root_sha256: str
    problems: list[str] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)
    leak_rules: dict[str, Any] = field(default_factory=dict)
    changed_rules: dict[str, Any] = field(default_factory=dict)


def verify(dataset: str) -> Verification:
    """Re-read every file of a dataset, and check all that its manifests promise.

    Checked are: digests, sizes and rows of every shard; schema, order and uniqueness of the rows; labels and
    `is_clean`; counts and noise of every class against manifest and level; that each set is what its name says; that
    levels nest and colors hit the same images; that every picture decodes, is the same in all sets and has the size of
    the others; that no training picture is, or looks like, a test picture (fingerprints made anew); that the card and
    the Croissant file are those of the build, and that nothing else is there. Of sets that were made as listed, noise,
    nesting and freedom from leaks are no promise: their noise must be what the manifest says it is, and leaks that only
    they have are counted. Raises DataError only if there is no dataset at all.
    """
    root, entries = read_root(dataset)
    result = Verification(files.sha256(files.join(dataset, MANIFEST)))
    result.problems += _check_files(dataset, root, entries)
    pictures = Pictures()
    sets: dict[str, ReadSet] = {}
    # The pictures of a shared dataset first: they are what its sets' ids stand for.
    for name, entry in sorted(entries.items(), key=lambda item: item[0] != SHARED_IMAGES):
        manifest = _read_manifest(dataset, name, entry, result.problems)
        if manifest is None:
            continue
        read = read_set(files.join(dataset, name), name, manifest, pictures, result.problems)
        if read is None or name == SHARED_IMAGES:
            continue
        sets[name] = read
        result.problems += _check_set(read)
        missing = [image_id for image_id in read.ids() if image_id not in pictures.digests]
        if missing:
            result.problems.append(
                f"{name}: {len(missing)} images have no readable picture, {missing[0]} for one"
            )
    for resize in {one.manifest.about["pictures"]["resize"] for one in sets.values()}:
        result.problems += pictures.wrong_sizes(resize)
    result.problems += check_across(sets)
    try:
        rules = leak_rules(root.about)
        result.leak_rules, result.changed_rules = output_values(rules), changed_rules(rules)
        result.problems += check_leaks(sets, pictures, rules, result.facts)
    except DataError as error:
        result.problems.append(str(error))
    result.facts |= {
        "sets": len(sets),
        "examples": sum(s.examples.num_rows for s in sets.values()),
        "pictures": len(pictures.digests),
    }
    return result


def _check_files(dataset: str, root: Manifest, sets: Mapping[str, Any]) -> Iterator[str]:
    """Compare what is in the folder of a dataset with what its manifest names; hidden files are passed over."""
    stated = root.about.get("files")
    there = files.entries(dataset)
    for name in (CARD, CROISSANT):
        expected = stated.get(name) if isinstance(stated, dict) else None
        if expected is None:
            yield f"{dataset}: {MANIFEST} has no digest of {name}; run split again"
        elif there.get(name) is None:
            yield f"{files.join(dataset, name)}: no such file; run split again, or copy it again"
        elif files.sha256(files.join(dataset, name)) != expected:
            yield f"{files.join(dataset, name)}: changed since the dataset was built; run split again, or copy it again"
    known = {MANIFEST, CARD, CROISSANT, *sets}
    for name in sorted(there.keys() - known):
        if not name.startswith("."):
            yield f"{files.join(dataset, name)}: not part of the dataset, its manifest does not name it; remove it"


def _read_manifest(dataset: str, name: str, entry: Mapping[str, Any], problems: list[str]) -> Manifest | None:
    """Return the manifest of a set if everything that is proved of the set can rely on it; else add the `problems`."""
    folder = files.join(dataset, name)
    try:
        if files.sha256(files.join(folder, MANIFEST)) != entry["manifest_sha256"]:
            problems.append(f"{name}: {MANIFEST} has been changed since the dataset was built")
        manifest = directory.read_manifest(folder)
    except DataError as error:
        problems.append(str(error))
        return None
    if wrong := invalid_facts(name, manifest.about):
        problems.append(
            f"{name}: {MANIFEST} does not say {', '.join(wrong)}, or not as a valid value, so nothing is proved of it"
        )
        return None
    if name != SHARED_IMAGES:
        problems += check_name(name, manifest.about, manifest.rows, entry)
    return manifest


def _check_set(read: ReadSet) -> Iterator[str]:
    name, about, examples = read.name, read.manifest.about, read.examples
    ids, class_names = read.ids(), about["class_names"]
    if examples.num_rows != read.manifest.rows:
        yield f"{name}: {examples.num_rows} rows, the manifest says {read.manifest.rows}"
    if len(set(ids)) < len(ids):
        yield f"{name}: an image stands in more than one row"
    places = shard_key(ids)
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
    lacking = classes_without_clean(examples, class_names) if about["color"] else []
    if lacking != about.get("classes_without_clean", []):
        yield f"{name}: the classes without a clean image ({', '.join(lacking) or 'none'}) are not those of the manifest"
    if about.get("fixed_set"):
        wrong = sum(row["noisy"] for row in counted)
        share, stated = round(wrong / max(1, len(ids)), 6), about["fixed_set"].get("realized_noise")
        if share != stated:
            yield f"{name}: the share {share} of its labels is wrong, the manifest says {stated}"
    if (
        not about.get("fixed_set") and about.get("on_shortage") != "cap"
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
