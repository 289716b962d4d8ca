"""Read the manifests of a dataset, and check the types of their values."""

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


def _is_list_of_names(value: Any) -> bool:
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


def _is_fixed_set_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and _is_share(value.get("realized_noise")))


def _is_estimate_or_none(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and all(
            isinstance(number := value.get(key), int | float) and 0 <= number <= 1
            for key in ("value", "low", "high")
        )
    )


def _is_ingest_config(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("resize"))


_OF_EVERY_TABLE: dict[str, _Check] = {"image_settings": _is_ingest_config}
_OF_EVERY_SET: dict[str, _Check] = {
    "set_name": _is_text,
    "class_names": _is_list_of_names,
    "classes": _is_noise_by_class,
    "noise_level": _is_share,
    "fixed_set": _is_fixed_set_or_none,
    "estimated_noise": _is_estimate_or_none,
}
_OF_TRAINING_SETS: dict[str, _Check] = {
    "color": _is_text,
    "trial": _is_count,
    "nested": _is_flag,
    "blue_size": _is_text,
    "on_shortage": _is_text,
}


def invalid_values(name: str, about: Mapping[str, Any]) -> list[str]:
    """Return the keys of the manifest of a set that are missing or invalid."""
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
    """Return the manifest of a set. Raises DataError if it is missing or has invalid values."""
    folder = files.join(dataset, name)
    manifest = directory.read_manifest(folder)
    if wrong := invalid_values(name, manifest.about):
        raise DataError(
            f"{files.join(folder, MANIFEST)}: missing or invalid values ({', '.join(wrong)}); run split again, or restore the file"
        )
    return manifest


def read_root(dataset: str) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    """Return the root manifest of a dataset, and its entry for each set, by name.

    Raises DataError if the folder is not a dataset, or if a set name is not a plain folder name.
    """
    root = directory.read_manifest(dataset)
    sets = root.about.get("sets")
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
                f"{files.join(dataset, MANIFEST)}: the set name {name!r} is a path out of the dataset; do not use this dataset"
            )
    return root, sets
