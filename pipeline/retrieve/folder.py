"""Write lists of the images in a folder that has a subfolder for each class."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from common.config import percent_hint
from common.errors import DataError, UsageError
from pipeline.keyed_hash import keyed_hash
from pipeline.retrieve.image_files import FolderFiles, find_images
from pipeline.retrieve.search import check_different, check_new, write_lists
from pipeline.values import identifier_fault, normalize_identifier, normalize_name

COLUMNS = ("image_id", "class_name", "path")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first existing one is the test set
TRAIN_NAMES = ("train", "training")
MAX_PROBLEMS = 20  # in one message

Row = dict[str, Any]


def list_folder(
    folder: str, output: str, test: str | None, test_share: float, seed: int, follow_links: bool = False
) -> dict[str, Any]:
    """Write the list of the images of a folder to `output`, and of a share of each class to `test` instead.

    If the subfolders are train and val or test, the classes are the folders below them, and the images in test (or else
    in val) go to `test`. Paths are relative to the folder of the lists, which is the `source` of a build. The id of an
    image is its path without the extension, photos-ant-1 for photos/ant/1.jpg, or with it if two images would have the
    same id. A keyed hash of the id with `seed` selects the share for `test`. Returns the classes, the numbers of rows, and
    the numbers of files that are not listed, by reason.
    Raises UsageError unless the lists are beside or above the folder, DataError that lists every invalid name.
    """
    base = _base(folder, output, test, test_share)
    files_of_folder = find_images(folder, base, follow_links)
    held_names, trained = _split_names(files_of_folder)
    problems: list[str] = []
    rows = _rows(files_of_folder, bool(trained), problems)
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:MAX_PROBLEMS])
        more = f"\n  and {len(problems) - MAX_PROBLEMS:,} more" if len(problems) > MAX_PROBLEMS else ""
        raise DataError(f"{folder}: {len(problems):,} invalid names; rename these:\n{shown}{more}")
    if not rows:
        raise DataError(
            f"{folder}: no images in subfolders; make a subfolder for each class, with its images"
        )
    held: set[str] = set()
    if test and held_names:
        held = {
            row["image_id"]
            for row, image in zip(rows, files_of_folder.images, strict=True)
            if image.folders[0] in held_names
        }
    elif test:
        held = _held_out(rows, test_share, seed)
    kept = [row for row in rows if row["image_id"] not in held]
    if test and held and not kept:
        raise DataError(f"{folder}: all images are in test folders, so that {output} would be empty")
    of_test = {test: [row for row in rows if row["image_id"] in held]} if test else {}
    write_lists({output: kept, **of_test}, COLUMNS)
    return {
        "classes": sorted({row["class_name"] for row in rows}),
        "rows": len(kept),
        "test_rows": len(held),
        "not_listed": dict(files_of_folder.not_listed),
        "examples": files_of_folder.examples,
        "layout": "/".join(sorted(trained | held_names)) if trained else "",
    }


def build_yaml(classes: Sequence[str], output: str, test: str | None) -> str:
    """Return the YAML of the keys of a build that name these lists."""
    config: dict[str, Any] = {"source": os.path.dirname(output) or ".", "classes": list(classes)}
    config["clean"] = [os.path.basename(output)]
    if test:
        config["test"] = [os.path.basename(test)]
    return str(
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1 << 20, default_flow_style=None)
    )


def _base(folder: str, output: str, test: str | None, test_share: float) -> str:
    """Return the folder of the lists. Raises UsageError for flags that contradict each other."""
    base = os.path.dirname(os.path.abspath(output))
    if os.path.commonpath([base, os.path.abspath(folder)]) != base:
        raise UsageError(
            f"--output {output}: write the lists beside or above the images, so that one source folder "
            "contains both"
        )
    if test is not None and os.path.dirname(os.path.abspath(test)) != base:
        raise UsageError(f"--test {test}: write both lists to one folder, {base}")
    if not 0 < test_share < 1:
        raise UsageError(
            f"--test-share {test_share:g}: give a share between 0 and 1{percent_hint(test_share)}"
        )
    paths = {"--output": output, "--test": test}
    check_different(paths)
    for flag, path in paths.items():
        if path:
            check_new(flag, path)
    return base


def _split_names(files_of_folder: FolderFiles) -> tuple[set[str], set[str]]:
    """Return the subfolders of the test set and those of the rest, both empty if the subfolders are classes."""
    names = {image.folders[0] for image in files_of_folder.images}
    are_splits = {name.lower() for name in names} <= {*TEST_NAMES, *TRAIN_NAMES}
    if not are_splits or not any(name.lower() in TRAIN_NAMES for name in names):
        return set(), set()
    if any(len(image.folders) < 2 for image in files_of_folder.images):
        return set(), set()
    present = sorted(names, key=lambda name: [*TRAIN_NAMES, *TEST_NAMES].index(name.lower()))
    tests = [name for name in present if name.lower() in TEST_NAMES]
    return set(tests[:1]), names - set(tests[:1])


def _rows(files_of_folder: FolderFiles, has_splits: bool, problems: list[str]) -> list[Row]:
    """Return a row for each image, in order; invalid names are added to `problems`."""
    rows: list[Row] = []
    taken: dict[str, str] = {}
    bad_classes: set[str] = set()
    for image, image_id in zip(
        files_of_folder.images, _ids([image.path for image in files_of_folder.images]), strict=True
    ):
        folder = image.folders[1 if has_splits else 0]
        class_name = normalize_name(folder)
        if fault := _path_fault(image.path) or identifier_fault(image_id):
            problems.append(f"{image.path!r}: {fault}")
        elif (first := taken.setdefault(image_id, image.path)) != image.path:
            problems.append(f"{image.path!r} and {first!r} would both have the id {image_id!r}")
        if (class_name is None or identifier_fault(class_name)) and folder not in bad_classes:
            bad_classes.add(folder)
            reason = identifier_fault(class_name) if class_name else "means a missing value in lists"
            problems.append(f"folder {folder!r} is not a valid class name: {reason}")
        rows.append({"image_id": image_id, "class_name": class_name, "path": image.path})
    return rows


def _ids(paths: Sequence[str]) -> list[str]:
    """Return the id of each path: without its extension, or with it if several would have the same id."""
    with_ending = [normalize_identifier(path.replace("/", "-")) for path in paths]
    ids = [normalize_identifier(os.path.splitext(path)[0].replace("/", "-")) for path in paths]
    while True:
        count = Counter(ids)
        longer = [full if count[short] > 1 else short for short, full in zip(ids, with_ending, strict=True)]
        if longer == ids:
            return ids
        ids = longer


def _path_fault(path: str) -> str | None:
    """Return why a build could not read a path, or None."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "the name is not Unicode text"
    if not path.isprintable():
        return "the name has control characters"
    if "\\" in path or ":" in path.split("/", 1)[0]:
        return "the path has a backslash, or a colon in its first part"
    return None


def _held_out(rows: list[Row], share: float, seed: int) -> set[str]:
    """Select a share of the ids of each class by a keyed hash: at least one of two or more, and never all."""
    by_class: dict[str, list[str]] = {}
    for row in rows:
        by_class.setdefault(row["class_name"], []).append(row["image_id"])
    held: set[str] = set()
    for ids in by_class.values():
        order = sorted(zip(keyed_hash(ids, seed, "test"), ids, strict=True))
        count = min(max(1, round(share * len(ids))), len(ids) - 1)
        held |= {image_id for _, image_id in order[:count]}
    return held
