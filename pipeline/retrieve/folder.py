"""Lists from a folder of pictures that one has: one subfolder a class, as most collections lie."""

import os
from collections.abc import Iterator
from typing import Any

from pipeline.ingest.rows import MAX_ID_BYTES
from pipeline.keyed_hash import keyed_hash
from pipeline.retrieve.search import check_new, write_list
from schemas.errors import DataError, UsageError

COLUMNS = ("image_id", "class_name", "path")


def list_folder(folder: str, output: str, test: str | None, test_share: float, seed: int) -> dict[str, Any]:
    """Write the list of a folder's pictures to `output`, and of a share of each class to `test` instead.

    Paths are relative to the folder of the lists, which is the `source` of a build. An image is called by its path, so
    that lists of several folders name no two pictures alike: photos/ant/1.jpg is photos-ant-1. Which go to `test` follows
    from that name and `seed`. What is no picture is left to ingest, which tells.
    Raises UsageError where the lists lie above no part of the folder, DataError for names that make no id.
    """
    base = os.path.dirname(os.path.abspath(output))
    if os.path.commonpath([base, os.path.abspath(folder)]) != base:
        raise UsageError(
            f"--output {output}: the lists lie beside or above the pictures; give a file in such a folder"
        )
    if test is not None and os.path.dirname(os.path.abspath(test)) != base:
        raise UsageError(f"--test {test}: both lists lie in one folder, {base}")
    if not 0 < test_share < 1:
        raise UsageError(f"--test-share is a share between 0 and 1, got {test_share}")
    for flag, path in (("--output", output), ("--test", test)):
        if path:
            check_new(flag, path)
    found: dict[str, dict[str, Any]] = {}
    for name, path in _pictures(folder):
        row = _row(name, path, base)
        other = found.setdefault(row["image_id"], row)
        if other is not row:
            raise DataError(
                f"{path} and {other['path']} would both be called {row['image_id']!r}; rename one"
            )
    if not found:
        raise DataError(
            f"{folder}: no files in subfolders; a class is a subfolder, its pictures are the files in it"
        )
    rows = list(found.values())
    held = _held_out(rows, test_share, seed) if test else set()
    kept = [row for row in rows if row["image_id"] not in held]
    write_list(kept, output, COLUMNS)
    if test:
        write_list([row for row in rows if row["image_id"] in held], test, COLUMNS)
    classes = sorted({row["class_name"] for row in rows})
    return {"classes": classes, "rows": len(kept), "test_rows": len(held)}


def _pictures(folder: str) -> Iterator[tuple[str, str]]:
    """(class, path) of each file, in the order of their names; hidden ones, and links to folders, are passed over."""
    try:
        classes = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
        )
    except OSError as error:
        raise DataError(
            f"{folder}: {error.strerror}; give the folder that holds a subfolder a class"
        ) from error
    for name in classes:
        for place, below, files in os.walk(os.path.join(folder, name)):
            below[:] = sorted(one for one in below if one[0] != ".")
            yield from ((name, os.path.join(place, file)) for file in sorted(files) if file[0] != ".")


def _row(name: str, path: str, base: str) -> dict[str, Any]:
    relative = os.path.relpath(path, base).replace(os.sep, "/")
    image_id = os.path.splitext(relative)[0].replace("/", "-")
    try:
        size = len(image_id.encode())
        relative.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{relative!r}: the name is no Unicode text; rename the file") from error
    if size > MAX_ID_BYTES or not relative.isprintable():
        raise DataError(
            f"{relative!r}: a name of more than {MAX_ID_BYTES} bytes or with control characters; rename it"
        )
    return {"image_id": image_id, "class_name": name, "path": relative}


def _held_out(rows: list[dict[str, Any]], share: float, seed: int) -> set[str]:
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
