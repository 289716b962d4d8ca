"""What the checks of buckets count: sums that can be added up in any order, in memory that depends on no number of images."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

Key = tuple[str, ...]
K = TypeVar("K")


@dataclass(frozen=True)
class Finding:
    """How often a rule is broken, and the alphabetically first example."""

    count: int
    example: str


@dataclass
class Tally:
    """The sums over some buckets.

    counts: numbers of rows, images, … by name and set. class_counts: of each set, int64 (3, classes), as
    `noise.examples.count_classes` returns them. findings: broken rules, by rule and the sets concerned. sizes: number
    of images of each size in pixels.
    """

    counts: Counter[Key] = field(default_factory=Counter)
    class_counts: dict[str, np.ndarray] = field(default_factory=dict)
    findings: dict[Key, Finding] = field(default_factory=dict)
    sizes: dict[tuple[int, ...], Finding] = field(default_factory=dict)

    def add_finding(self, key: Key, examples: Iterable[str]) -> None:
        """Count examples of a broken rule; none change nothing."""
        each = list(examples)
        if each:
            _add(self.findings, {key: Finding(len(each), min(each))})

    def add_size(self, size: tuple[int, ...], image_id: str) -> None:
        """Count an image of this size."""
        _add(self.sizes, {size: Finding(1, image_id)})

    def merge(self, other: "Tally") -> None:
        """Add the sums over other buckets."""
        self.counts.update(other.counts)
        for name, counts in other.class_counts.items():
            self.class_counts[name] = self.class_counts.get(name, 0) + counts
        _add(self.findings, other.findings)
        _add(self.sizes, other.sizes)


def _add(target: dict[K, Finding], more: Mapping[K, Finding]) -> None:
    for key, new in more.items():
        old = target.get(key)
        target[key] = Finding(old.count + new.count, min(old.example, new.example)) if old else new
