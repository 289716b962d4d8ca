"""Plan the verification of a dataset: check its manifests, and list the buckets whose rows and images are to be checked."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from common.config import build, output_names
from common.errors import DataError
from pipeline import files
from pipeline.config import DedupeConfig
from pipeline.keyed_hash import bucket_count
from pipeline.shards import directory
from pipeline.shards.dataset_manifests import invalid_values, read_root
from schemas.example import SHARED_IMAGE_SCHEMA, SHARED_IMAGES, TEST_SET, example_schema, set_name
from schemas.manifest import CARD, CROISSANT, MANIFEST, PUBLICATION_FILES, Manifest, Shard

CLEAN_IMAGES_PER_GROUP = 1 << 18
TRAINING_IMAGES_PER_GROUP = 1 << 16

# Values that the manifests of all sets have in common, those of drawn training sets, and those that the root manifest repeats.
_OF_ALL_SETS = ("class_names", "seed", "mode", "image_settings", "versions")
_OF_DRAWN_SETS = ("nested", "on_shortage", "blue_size")
_OF_ROOT_ENTRY = ("color", "noise_level", "trial")


@dataclass(frozen=True)
class PlannedSet:
    """A set with a valid manifest. buckets: number of ranges of shard keys that its shards are named by."""

    name: str
    rows: int
    about: Mapping[str, Any]
    buckets: int

    @property
    def is_fixed(self) -> bool:
        """Whether a list gives the examples of the set, so that its noise is not promised."""
        return bool(self.about.get("fixed_set"))

    @property
    def withheld(self) -> int:
        """Number of rows that have no image, since it may not be given away (pipeline/publish)."""
        stated = self.about.get("withheld", 0)
        return stated if isinstance(stated, int) and self.name != SHARED_IMAGES else 0

    @property
    def is_drawn(self) -> bool:
        """Whether it is a training set whose examples were drawn."""
        return self.name not in (SHARED_IMAGES, TEST_SET) and not self.is_fixed


@dataclass(frozen=True)
class Bucket:
    """The shards of all sets in one range of shard keys, by set: the work of one task."""

    index: int
    shards: Mapping[str, Sequence[Shard]]


@dataclass(frozen=True)
class VerificationPlan:
    """What every task knows of a dataset.

    sets: those with a valid manifest; a shared dataset has its images among them. buckets: number of ranges of shard
    keys. clean_groups, training_groups: number of coarser ranges, by which clean images are compared and leaks searched.
    rules: those by which leaks are searched, None if the manifest has none. altered: number of altered copies of test images
    that the build states to have found by features, None if it did not search them. problems: broken rules that need no shard.
    root_sha256: digest of the dataset's manifest.
    """

    dataset: str
    sets: Mapping[str, PlannedSet]
    buckets: int
    clean_groups: int
    training_groups: int
    rules: DedupeConfig | None
    altered: int | None
    problems: tuple[str, ...]
    root_sha256: str

    @property
    def is_shared(self) -> bool:
        """Whether the sets are lists of examples, whose images are stored once."""
        return SHARED_IMAGES in self.sets

    @property
    def resize(self) -> str:
        """The rule by which images were resized (`ingest.resize`)."""
        return min(
            (str(each.about["image_settings"]["resize"]) for each in self.sets.values()), default="none"
        )

    def schema_of(self, name: str) -> pa.Schema:
        """Return the schema that the shards of a set must have."""
        if name == SHARED_IMAGES:
            return SHARED_IMAGE_SCHEMA
        about = self.sets[name].about
        return example_schema(about["class_names"], with_images=about.get("mode") != "shared")

    def drawn(self) -> list[PlannedSet]:
        """Return the drawn training sets, red ones first."""
        return drawn_sets(self.sets)


def plan_verification(dataset: str) -> tuple[VerificationPlan, list[Bucket]]:
    """Read and check all manifests of a dataset. Raises DataError if there is no dataset."""
    root, entries = read_root(dataset)
    problems = list(_check_files(dataset, root, entries))
    sets: dict[str, PlannedSet] = {}
    shards: dict[str, tuple[Shard, ...]] = {}
    for name, entry in entries.items():
        manifest = _read_manifest(dataset, name, entry, problems)
        if manifest is None:
            continue
        problems += _check_folder(files.join(dataset, name), name, manifest)
        try:
            buckets = directory.bucket_total(manifest.shards)
        except DataError as error:
            problems.append(f"{name}: {error}, so its rows are not verified")
            continue
        sets[name] = PlannedSet(name, manifest.rows, manifest.about, buckets)
        shards[name] = manifest.shards
    rules = None
    try:
        rules = leak_rules(root.about)
    except DataError as error:
        problems.append(str(error))
    problems += _check_common(
        [each for name, each in sorted(sets.items()) if name != SHARED_IMAGES], _OF_ALL_SETS
    )
    problems += _check_common(drawn_sets(sets), _OF_DRAWN_SETS)
    total = min((each.buckets for name, each in sets.items() if shards[name]), default=1)
    rows = max((each.rows for each in sets.values()), default=0)
    clean_groups = min(total, bucket_count(rows, CLEAN_IMAGES_PER_GROUP))
    training_groups = min(total, bucket_count(rows, TRAINING_IMAGES_PER_GROUP))
    by_bucket: dict[int, dict[str, Sequence[Shard]]] = {}
    for name, own in shards.items():
        for index, some in directory.by_bucket(own, total).items():
            by_bucket.setdefault(index, {})[name] = some
    digest = files.sha256(files.join(dataset, MANIFEST))
    plan = VerificationPlan(
        dataset,
        sets,
        total,
        clean_groups,
        training_groups,
        rules,
        _altered(root.about),
        tuple(problems),
        digest,
    )
    return plan, [Bucket(index, by_bucket[index]) for index in sorted(by_bucket)]


def drawn_sets(sets: Mapping[str, PlannedSet]) -> list[PlannedSet]:
    """Return the drawn training sets, red ones first."""
    drawn = [each for each in sets.values() if each.is_drawn]
    return sorted(drawn, key=lambda each: (not each.about["color"].startswith("red"), each.name))


def leak_rules(about: Mapping[str, Any]) -> DedupeConfig:
    """Return the rules by which the build of a dataset searched leaks. Raises DataError if its root manifest has none."""
    try:
        rules = {name: about["leaks"][name] for name in output_names(DedupeConfig)}
        config = build(DedupeConfig, rules, "leaks")
        if not math.isfinite(config.min_contrast):
            raise ValueError("min_contrast is not a number")
        return config
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{MANIFEST}: the leak rules ('leaks') are missing or invalid ({error}), so leaks cannot be excluded"
        ) from error


def _altered(about: Mapping[str, Any]) -> int | None:
    """Return the number of altered copies that a root manifest states, None if they were not searched."""
    leaks = about.get("leaks")
    if not isinstance(leaks, dict) or not isinstance(leaks.get("features"), dict):
        return None
    found = leaks.get("embedding")
    return found if isinstance(found, int) else None


def _check_files(dataset: str, root: Manifest, sets: Mapping[str, Any]) -> Iterator[str]:
    """Compare the files in the folder of a dataset with those that its manifest names; hidden files are ignored."""
    stated = root.about.get("files")
    allowed = (CARD, CROISSANT, *PUBLICATION_FILES)
    digests = {name: stated[name] for name in allowed if name in stated} if isinstance(stated, dict) else {}
    present = files.entries(dataset)
    for name in sorted({CARD, CROISSANT, *digests}):
        expected = digests.get(name)
        if expected is None:
            yield f"{dataset}: {MANIFEST} has no digest of {name}; run split again"
        elif present.get(name) is None:
            yield f"{files.join(dataset, name)}: no such file; run split again, or copy the file again"
        elif files.sha256(files.join(dataset, name)) != expected:
            yield (
                f"{files.join(dataset, name)}: changed since the dataset was built; run split again, or copy the file "
                "again"
            )
    expected_names = {MANIFEST, CARD, CROISSANT, *digests, *sets}
    for name in sorted(present.keys() - expected_names):
        if not name.startswith("."):
            yield f"{files.join(dataset, name)}: not part of the dataset (not in its manifest); remove it"


def _check_folder(folder: str, name: str, manifest: Manifest) -> Iterator[str]:
    """Report files beside the shards of a set; names that begin with . or _ are skipped by readers of folders."""
    expected_names = {MANIFEST, *(shard.file for shard in manifest.shards)}
    for stray in sorted(files.entries(folder).keys() - expected_names):
        if not stray.startswith((".", "_")):
            yield f"{name}: {stray} is not part of this set, but readers of the folder may load it; remove it"


def _read_manifest(dataset: str, name: str, entry: Mapping[str, Any], problems: list[str]) -> Manifest | None:
    """Return the manifest of a set, or None if later checks cannot rely on it; add what is wrong to `problems`."""
    folder = files.join(dataset, name)
    try:
        if files.sha256(files.join(folder, MANIFEST)) != entry["manifest_sha256"]:
            problems.append(f"{name}: {MANIFEST} was changed after the dataset was built")
        manifest = directory.read_manifest(folder)
    except DataError as error:
        problems.append(str(error))
        return None
    if wrong := invalid_values(name, manifest.about):
        problems.append(
            f"{name}: {MANIFEST} has missing or invalid values ({', '.join(wrong)}), so the set is not verified"
        )
        return None
    if name != SHARED_IMAGES:
        problems += _check_name(name, manifest.about, manifest.rows, entry)
    return manifest


def _check_name(name: str, about: Mapping[str, Any], rows: int, entry: Mapping[str, Any]) -> Iterator[str]:
    """Compare the manifest of a set with the name of its folder and with its entry in the root manifest."""
    if about["set_name"] != name:
        yield f"{name}: the folder holds the set {about['set_name']!r}; copy the dataset again, or run split again"
    if name != TEST_SET and not about.get("fixed_set"):
        expected = set_name(about["color"], about["noise_level"], about["trial"])
        if expected != name:
            yield f"{name}: color, noise level and trial in its manifest are those of {expected}"
    estimated = about.get("estimated_noise")
    repeated = {
        **{key: about.get(key) for key in _OF_ROOT_ENTRY},
        "estimated_noise": estimated and {key: estimated[key] for key in ("value", "low", "high")},
        "rows": rows,
    }
    for key, value in repeated.items():
        if entry.get(key) != value:
            yield f"{name}: {key} is {value!r} in its manifest and {entry.get(key)!r} in the dataset's manifest"


def _check_common(sets: Sequence[PlannedSet], keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        for each in sets[1:]:
            if each.about.get(key) != sets[0].about.get(key):
                yield f"{each.name}: {key} differs from that of {sets[0].name}, so they belong to different datasets"
