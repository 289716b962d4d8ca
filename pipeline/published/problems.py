"""Problems of a release: inconsistencies with their kind, location and image, which are counted and listed."""

from collections import Counter
from typing import NamedTuple

from pipeline import files
from pipeline.rejections import DETAIL_LENGTH, printable
from schemas.cells import csv_text

KINDS = {
    "malformed_annotation": "an item of the JSON is not a list of objects with id, uri, class and verdict",
    "duplicate_annotation": "the image has a second annotation for this class; the first counts",
    "contradicting_annotation": "the image has a second annotation for this class with another verdict; the first counts",
    "another_uri": "the image has annotations with different URLs; the first counts",
    "malformed_line": "a line of a split is not `<image id>.jpg <class id>`",
    "unknown_class_id": "a class id is not in the list of class names",
    "duplicate_id": "the image is in an earlier line of the same split; the first counts",
    "contradicting_class": "a clean image has another class in an earlier split at noise level 0; the first counts",
    "unknown_file": "a file among the splits does not have the name of a split",
    "missing_split": "a split of the release is missing",
    "id_without_annotation": "neither annotated nor in a split at noise level 0, so the label is unknown; left out",
    "label_not_annotated": "a web image in a class for which it has no annotation; counted as wrong",
    "image_missing": "no file of this image; web images are fetched from their URL, other images are left out",
}


class Problem(NamedTuple):
    """One inconsistency in the release."""

    kind: str
    location: str
    image_id: str = ""
    detail: str = ""


KEPT = 20_000  # listed problems of each kind; a damaged release may have millions


class Problems:
    """Problems of one import: all are counted, and the first KEPT of each kind are listed."""

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, location: str, image_id: str = "", detail: str = "") -> None:
        """Add a problem; untrusted text is made printable."""
        assert kind in KINDS, kind
        self._counts[kind] += 1
        if self._counts[kind] > KEPT:
            return
        self.listed.append(Problem(kind, location, _shown(image_id), _shown(detail)))

    def counts(self) -> dict[str, int]:
        """Return the number of problems of each kind, in the order of KINDS."""
        return {kind: self._counts[kind] for kind in KINDS if self._counts[kind]}

    def first(self, kind: str) -> Problem:
        """Return the first problem of a kind."""
        return next(problem for problem in self.listed if problem.kind == kind)

    def write(self, path: str) -> None:
        """Write the listed problems as CSV."""
        files.write_text(path, csv_text(Problem._fields, self.listed))


def _shown(text: str) -> str:
    return text if len(text) <= DETAIL_LENGTH and text.isprintable() else printable(text[:DETAIL_LENGTH])
