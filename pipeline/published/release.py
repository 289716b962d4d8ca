"""Parser of the released files of Controlled Noisy Web Labels (Jiang et al., ICML 2020).

A class id is a line number of `class_names.txt` minus 1. A split has lines `<image id>.jpg <class id>`; the level in its
file name is `str(percent / 100)`. The annotations are `{"data": [[{…}], …]}`, with ids without `.jpg`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.errors import DataError
from pipeline.published.archive import Archive
from pipeline.published.problems import Problems

ANNOTATIONS = {
    "mini-imagenet": "mini-imagenet-annotations.json",
    "stanford_cars": "stanford-cars-annotations.json",
}
VALIDATION = "clean_validation"
LEVELS = ("0.0", "0.05", "0.1", "0.15", "0.2", "0.3", "0.4", "0.5", "0.6", "0.8")
_SPLIT_NAME = re.compile(r"(red|blue)_noise_nl_(0(?:\.[0-9]{1,4})?)")
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_LINE = re.compile(r"([^ ]+?)(?:\.(?:jpg|jpeg))? ([0-9]{1,6})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Annotation:
    """One answered question: does the image at `uri` show class `label`?"""

    image_id: str
    label: int
    is_clean: bool
    uri: str


@dataclass(frozen=True)
class ReleasedSplit:
    """One split file: image ids and class ids line by line, and the location of the file."""

    name: str
    color: str
    noise_level: float
    ids: list[str]
    labels: list[int]
    location: str


@dataclass(frozen=True)
class Release:
    """Content of the release for one of its two datasets."""

    set_name: str
    class_names: list[str]
    annotations: list[Annotation]
    splits: list[ReleasedSplit]
    validation: ReleasedSplit


def read_release(path: str, set_name: str, problems: Problems) -> Release:
    """Read one dataset of the release at `path`.

    Unusable lines and items are added to `problems`. Raises DataError for an unusable file.
    """
    archive = Archive.open(path, ANNOTATIONS[set_name])
    class_names = _class_names(archive, f"{set_name}/class_names.txt")
    annotations = list(_annotations(archive, ANNOTATIONS[set_name], len(class_names), problems))
    folder = f"{set_name}/split"
    splits, wanted = [], {f"{color}_noise_nl_{level}" for color in ("red", "blue") for level in LEVELS}
    for name in archive.names(folder):
        wanted.discard(name)
        if named := _SPLIT_NAME.fullmatch(name):
            color, level = named.groups()
            splits.append(_split(archive, folder, name, color, float(level), len(class_names), problems))
        elif name != VALIDATION:
            problems.add("unknown_file", archive.location(f"{folder}/{name}"))
    for name in sorted(wanted):
        problems.add("missing_split", archive.location(f"{folder}/{name}"))
    if not splits:
        raise DataError(f"{archive.location(folder)}: no split file in it; download the release again")
    splits.sort(key=lambda split: (split.color != "red", split.noise_level))
    validation = _split(archive, folder, VALIDATION, "", 0.0, len(class_names), problems)
    return Release(set_name, class_names, annotations, splits, validation)


def _class_names(archive: Archive, name: str) -> list[str]:
    names = [line.strip() for line in archive.read(name).split("\n")]
    while names and not names[-1]:
        names.pop()
    location = archive.location(name)
    if len(names) < 2:
        raise DataError(
            f"{location}: {len(names)} class names, expected one per line for at least two classes; download the release again"
        )
    lines: dict[str, int] = {}
    for number, class_name in enumerate(names, 1):
        if not class_name or not class_name.isprintable():
            raise DataError(
                f"{location}, line {number}: {class_name!r} is not a class name; correct the line"
            )
        if (first := lines.setdefault(class_name, number)) < number:
            raise DataError(
                f"{location}, line {number}: {class_name!r} is also in line {first}; rename one of them"
            )
    return names


def _annotations(archive: Archive, name: str, classes: int, problems: Problems) -> Iterator[Annotation]:
    location = archive.location(name)
    text = archive.read(name)
    try:
        _check_density(text)
        items = json.loads(text)["data"]
        if not isinstance(items, list):
            raise TypeError("'data' is not a list")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{location}: no annotations ({type(error).__name__}: {error}); download the release again"
        ) from error
    for number, item in enumerate(items):
        for entry in item if isinstance(item, list) and item else [item]:
            try:
                yield _annotation(entry, classes)
            except (KeyError, TypeError, ValueError) as error:
                detail = f"{type(error).__name__}: {error}"
                problems.add("malformed_annotation", f"{location}: data[{number}]", detail=detail)


def _check_density(text: str) -> None:
    """Raise ValueError for JSON with so many small values that it would take many times its size in memory.

    An annotation has about 200 characters, four values and one or two brackets.
    """
    brackets, commas = text.count("[") + text.count("{"), text.count(",")
    if brackets > 1000 + len(text) / 30 or commas > 1000 + len(text) / 10:
        raise ValueError(
            f"{brackets} brackets and {commas} commas in {len(text)} characters are too many for annotations"
        )


def _annotation(entry: Any, classes: int) -> Annotation:
    """Parse one object of the JSON. Raises KeyError, TypeError or ValueError with the problem."""
    if not isinstance(entry, dict):
        raise TypeError("not an object")
    image_id, uri = entry["image/id"], entry["image/uri"]
    label, is_clean = entry["image/class/label"], entry["image/class/label/is_clean"]
    if not isinstance(image_id, str) or not _ID.fullmatch(image_id):
        raise ValueError(f"image/id {str(image_id)[:80]!r}")
    if not isinstance(uri, str) or not uri.isprintable():
        raise ValueError(f"image/uri {str(uri)[:80]!r}")
    if type(label) is not int or not 0 <= label < classes:
        raise ValueError(f"image/class/label {label!r} of {classes} classes")
    if is_clean not in (0, 1):
        raise ValueError(f"image/class/label/is_clean {is_clean!r}")
    return Annotation(image_id, label, bool(is_clean), uri)


def _split(
    archive: Archive, folder: str, name: str, color: str, level: float, classes: int, problems: Problems
) -> ReleasedSplit:
    location = archive.location(f"{folder}/{name}")
    lines = archive.read(f"{folder}/{name}").split("\n")
    if not lines[-1]:
        lines.pop()  # the final newline is optional
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        parts = _LINE.fullmatch(line.removesuffix("\r"))
        if not parts or not _ID.fullmatch(parts[1]):
            problems.add("malformed_line", f"{location}:{number}", detail=line)
        elif int(parts[2]) >= classes:
            problems.add("unknown_class_id", f"{location}:{number}", parts[1], f"{parts[2]} of {classes}")
        elif parts[1] in first:
            problems.add("duplicate_id", f"{location}:{number}", parts[1])
        else:
            first[parts[1]] = int(parts[2])
    return ReleasedSplit(name, color, level, list(first), list(first.values()), location)
