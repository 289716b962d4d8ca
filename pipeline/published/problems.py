"""What does not match in a release: each finding with its kind, its place and the image, none of them dropped."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from pipeline import files
from pipeline.rejections import DETAIL_LENGTH, printable

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


class Problems:
    """The findings of one import."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, kind: str, place: str, image_id: str = "", detail: str = "") -> None:
        """Note one finding; foreign text is made printable."""
        assert kind in KINDS, kind
        self.found.append(Problem(kind, place, _shown(image_id), _shown(detail)))

    def counts(self) -> dict[str, int]:
        """How many of each kind, in the order of KINDS."""
        counted = Counter(problem.kind for problem in self.found)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}

    def first(self, kind: str) -> Problem:
        """The first finding of a kind that has some."""
        return next(problem for problem in self.found if problem.kind == kind)

    def write(self, path: str) -> None:
        """Write all findings as CSV."""
        frame = pd.DataFrame(self.found, columns=Problem._fields)
        files.write_text(path, frame.to_csv(index=False))


def _shown(text: str) -> str:
    return text if text.isprintable() and len(text) <= DETAIL_LENGTH else printable(text)


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
