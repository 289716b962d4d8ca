"""Check the types of what the manifests of a dataset say, before anything relies on it."""

from collections.abc import Callable, Mapping
from typing import Any

from common.errors import DataError
from pipeline import files
from pipeline.shards import directory
from schemas.example import SHARED_IMAGES, TEST_SET
from schemas.manifest import MANIFEST, Manifest, is_plain_name

_Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= 1  # false for NaN


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_text, value))


def _is_noise_by_class(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and _is_text(row.get("class"))
        and _is_count(row.get("rows"))
        and _is_count(row.get("noisy"))
        and _is_share(row.get("noise"))
        for row in value
    )


def _is_measured(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and _is_share(value.get("realized_noise")))


def _is_picture_rules(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("resize"))


_OF_EVERY_TABLE: dict[str, _Check] = {"pictures": _is_picture_rules}
_OF_EVERY_SET: dict[str, _Check] = {
    "set_name": _is_text,
    "class_names": _is_names,
    "classes": _is_noise_by_class,
    "noise_level": _is_share,
    "fixed_set": _is_measured,
}
_OF_TRAINING_SETS: dict[str, _Check] = {
    "color": _is_text,
    "trial": _is_count,
    "nested": _is_flag,
    "blue_size": _is_text,
    "on_shortage": _is_text,
}


def invalid_values(name: str, about: Mapping[str, Any]) -> list[str]:
    """Return the keys that the manifest of the set `name` lacks, or whose values are not valid."""
    checks = dict(_OF_EVERY_TABLE)
    if name != SHARED_IMAGES:
        checks |= _OF_EVERY_SET
    if name not in (SHARED_IMAGES, TEST_SET):
        checks |= _OF_TRAINING_SETS
    wrong = [key for key, check in checks.items() if not check(about.get(key))]
    if "classes" in checks and not {"classes", "class_names"} & set(wrong):
        counted = about["classes"]
        if [row["class"] for row in counted] != about["class_names"] or not any(
            row["rows"] for row in counted
        ):
            wrong.append("classes")
    return wrong


def read_set_manifest(dataset: str, name: str) -> Manifest:
    """Return the manifest of a set. Raises DataError if there is none, or if it says something that is not valid."""
    folder = files.join(dataset, name)
    manifest = directory.read_manifest(folder)
    if wrong := invalid_values(name, manifest.about):
        raise DataError(
            f"{files.join(folder, MANIFEST)}: missing or invalid: {', '.join(wrong)}; run split again, or restore the file"
        )
    return manifest


def read_root(dataset: str) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    """Return the root manifest of a dataset, and what it says of each set, by name.

    Raises DataError if the folder is no dataset, or if the name of a set is not that of a folder within it.
    """
    root = directory.read_manifest(dataset)
    sets = root.about.get("splits")
    if not isinstance(sets, dict) or not all(
        isinstance(entry, dict) and _is_text(entry.get("manifest_sha256")) for entry in sets.values()
    ):
        above = dataset.rstrip("/").rpartition("/")[0] or "."
        remedy = "build it again with --force"
        if files.exists(files.join(above, MANIFEST)):
            remedy = f"did you mean {above}?"
        raise DataError(f"{dataset}: {MANIFEST} lists no sets; {remedy}")
    for name in sets:
        if not is_plain_name(name):
            raise DataError(
                f"{files.join(dataset, MANIFEST)}: the set name {name!r} leads out of the dataset; do not use it"
            )
    return root, sets
