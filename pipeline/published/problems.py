"""What does not match in a release: each finding with its kind, its place and the image, none of them dropped."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from pipeline import files
from pipeline.rejections import DETAIL_LENGTH, printable
from schemas.cells import csv_text

KINDS = {
    "malformed_annotation": "an item of the JSON that is no list of objects with id, uri, class and verdict",
    "duplicate_annotation": "the image has been annotated for this class before; the first counts",
    "contradicting_annotation": "annotated again for this class, with another verdict; the first counts",
    "another_uri": "the image has been annotated with another address before; the first counts",
    "malformed_line": "a line of a split that is no `<image id>.jpg <class id>`",
    "unknown_class_id": "a class id beyond the list of names",
    "duplicate_id": "the image stands in an earlier line of the same split; the first counts",
    "contradicting_class": "a clean image with another class than in an earlier list at noise level 0; the first counts",
    "unknown_file": "a file among the splits whose name is none of a split",
    "missing_split": "a split of the release that is not there",
    "id_without_annotation": "neither annotated nor in a split of noise level 0, so nothing is known of it; left out",
    "label_not_annotated": "a web image in a class for which it was not annotated; counted as wrong",
    "image_missing": "no file of this image; a web image is fetched from its address then, others are left out",
}


class Problem(NamedTuple):
    """One thing that does not match."""

    kind: str
    place: str
    image_id: str = ""
    detail: str = ""


KEPT = 20_000  # findings of each kind; a damaged release may have millions


class Problems:
    """The findings of one import: all are counted, the first `KEPT` of each kind are kept."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, place: str, image_id: str = "", detail: str = "") -> None:
        """Note one finding; foreign text is made printable."""
        assert kind in KINDS, kind
        self._counts[kind] += 1
        if self._counts[kind] > KEPT:
            return
        self.found.append(Problem(kind, place, _shown(image_id), _shown(detail)))

    def counts(self) -> dict[str, int]:
        """How many of each kind, in the order of KINDS."""
        return {kind: self._counts[kind] for kind in KINDS if self._counts[kind]}

    def first(self, kind: str) -> Problem:
        """The first finding of a kind that has some."""
        return next(problem for problem in self.found if problem.kind == kind)

    def write(self, path: str) -> None:
        """Write the findings that are kept as CSV."""
        files.write_text(path, csv_text(Problem._fields, self.found))


def _shown(text: str) -> str:
    return text if len(text) <= DETAIL_LENGTH and text.isprintable() else printable(text[:DETAIL_LENGTH])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
