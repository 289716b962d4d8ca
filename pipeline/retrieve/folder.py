"""Write lists of the pictures in a folder that has a subfolder for each class, as most collections do."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from common.config import percent_hint
from common.errors import DataError, UsageError
from pipeline.keyed_hash import keyed_hash
from pipeline.retrieve.image_files import FolderFiles, find_images
from pipeline.retrieve.search import check_new, write_list
from pipeline.values import identifier_fault, normalize_identifier, normalize_name

COLUMNS = ("image_id", "class_name", "path")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first that is there is the test set
TRAIN_NAMES = ("train", "training")
SHOWN = 20  # problems in one message

Row = dict[str, Any]


def list_folder(
    folder: str, output: str, test: str | None, test_share: float, seed: int, follow_links: bool = False
) -> dict[str, Any]:
    """Write the list of a folder's pictures to `output`, and of a share of each class to `test` instead.

    Where the subfolders are train and val or test, the classes are the folders below, and what is in test (or else in
    val) goes to `test`. Paths are relative to the folder of the lists, which is the `source` of a build. An image is
    called by its path without the ending, photos-ant-1 for photos/ant/1.jpg, or with it where two would have one name.
    Which pictures go to `test` otherwise follows from that name and `seed`. Returns the classes, the numbers of rows, and
    what was passed over, by reason.
    Raises UsageError where the lists lie above no part of the folder, DataError that lists every name that makes no id.
    """
    base = _base(folder, output, test, test_share)
    found = find_images(folder, base, follow_links)
    held_names, trained = _split_names(found)
    problems: list[str] = []
    rows = _rows(found, bool(trained), problems)
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:SHOWN])
        more = f"\n  and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        raise DataError(f"{folder}: {len(problems):,} names cannot be listed; rename these:\n{shown}{more}")
    if not rows:
        raise DataError(
            f"{folder}: no pictures in subfolders; a class is a subfolder, its pictures are the files in it"
        )
    held: set[str] = set()
    if test and held_names:
        held = {
            row["image_id"]
            for row, one in zip(rows, found.images, strict=True)
            if one.folders[0] in held_names
        }
    elif test:
        held = _held_out(rows, test_share, seed)
    kept = [row for row in rows if row["image_id"] not in held]
    if test and held and not kept:
        raise DataError(f"{folder}: all pictures are in test folders, none is left for {output}")
    write_list(kept, output, COLUMNS)
    if test:
        write_list([row for row in rows if row["image_id"] in held], test, COLUMNS)
    return {
        "classes": sorted({row["class_name"] for row in rows}),
        "rows": len(kept),
        "test_rows": len(held),
        "passed_over": dict(found.passed_over),
        "examples": found.examples,
        "layout": "/".join(sorted(trained | held_names)) if trained else "",
    }


def build_yaml(classes: Sequence[str], output: str, test: str | None) -> str:
    """Return the part of a build's configuration that speaks of these lists."""
    config: dict[str, Any] = {"source": os.path.dirname(output) or ".", "classes": list(classes)}
    config["clean"] = [os.path.basename(output)]
    if test:
        config["test"] = [os.path.basename(test)]
    return str(
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1 << 20, default_flow_style=None)
    )


def _base(folder: str, output: str, test: str | None, test_share: float) -> str:
    """The folder of the lists. Raises UsageError for flags that do not go together."""
    base = os.path.dirname(os.path.abspath(output))
    if os.path.commonpath([base, os.path.abspath(folder)]) != base:
        raise UsageError(
            f"--output {output}: the lists must be in a folder beside or above the pictures, so that one source folder "
            "has both"
        )
    if test is not None and os.path.dirname(os.path.abspath(test)) != base:
        raise UsageError(f"--test {test}: both lists must be in one folder, {base}")
    if not 0 < test_share < 1:
        raise UsageError(
            f"--test-share is a share between 0 and 1, got {test_share:g}{percent_hint(test_share)}"
        )
    for flag, path in (("--output", output), ("--test", test)):
        if path:
            check_new(flag, path)
    return base


def _split_names(found: FolderFiles) -> tuple[set[str], set[str]]:
    """The subfolders that hold the test set and those that hold the rest, both empty if subfolders are classes."""
    names = {one.folders[0] for one in found.images}
    known = {name.lower() for name in names} <= {*TEST_NAMES, *TRAIN_NAMES}
    if not known or not any(name.lower() in TRAIN_NAMES for name in names):
        return set(), set()
    if any(len(one.folders) < 2 for one in found.images):
        return set(), set()
    present = sorted(names, key=lambda name: [*TRAIN_NAMES, *TEST_NAMES].index(name.lower()))
    tests = [name for name in present if name.lower() in TEST_NAMES]
    return set(tests[:1]), names - set(tests[:1])


def _rows(found: FolderFiles, has_splits: bool, problems: list[str]) -> list[Row]:
    """A row for each picture, in order; names that cannot be used go to `problems`."""
    rows: list[Row] = []
    taken: dict[str, str] = {}
    bad_classes: set[str] = set()
    for one, image_id in zip(found.images, _ids([one.path for one in found.images]), strict=True):
        folder = one.folders[1 if has_splits else 0]
        class_name = normalize_name(folder)
        if fault := _path_fault(one.path) or identifier_fault(image_id):
            problems.append(f"{one.path!r}: {fault}")
        elif (first := taken.setdefault(image_id, one.path)) != one.path:
            problems.append(f"{one.path!r} and {first!r} would both be called {image_id!r}")
        if (class_name is None or identifier_fault(class_name)) and folder not in bad_classes:
            bad_classes.add(folder)
            reason = identifier_fault(class_name) if class_name else "stands for a missing value in lists"
            problems.append(f"folder {folder!r} is no name of a class: {reason}")
        rows.append({"image_id": image_id, "class_name": class_name, "path": one.path})
    return rows


def _ids(paths: Sequence[str]) -> list[str]:
    """The id of each path: without its ending, or with it where several would have the same id."""
    with_ending = [normalize_identifier(path.replace("/", "-")) for path in paths]
    ids = [normalize_identifier(os.path.splitext(path)[0].replace("/", "-")) for path in paths]
    while True:
        count = Counter(ids)
        longer = [full if count[one] > 1 else one for one, full in zip(ids, with_ending, strict=True)]
        if longer == ids:
            return ids
        ids = longer


def _path_fault(path: str) -> str | None:
    """Why a build would not read this path, or None."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "the name is no Unicode text"
    if not path.isprintable():
        return "the name has control characters"
    if "\\" in path or ":" in path.split("/", 1)[0]:
        return "a path with a backslash, or a colon in its first part, is read by no build"
    return None


def _held_out(rows: list[Row], share: float, seed: int) -> set[str]:
    """The ids of a share of each class, one at least of two; a keyed hash of the id decides."""
    by_class: dict[str, list[str]] = {}
    for row in rows:
        by_class.setdefault(row["class_name"], []).append(row["image_id"])
    held: set[str] = set()
    for ids in by_class.values():
        order = sorted(zip(keyed_hash(ids, seed, "test"), ids, strict=True))
        count = min(max(1, round(share * len(ids))), len(ids) - 1)
        held |= {image_id for _, image_id in order[:count]}
    return held
