"""Add partial results of buckets in a fixed order: floating-point sums depend on it, and a runner does not keep one."""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam

from pipeline.jobs.gather import GatherAll

GROUP = 32  # number of consecutive buckets that one task adds


class AddInOrder(beam.PTransform):
    """PCollection[(bucket, part)] → one element: the sum of all parts, in ascending order of the buckets.

    `add` takes a list of parts and returns their sum; it must accept its own results, and an empty list. Groups of
    buckets are added first, so all parts need not be in memory at once.
    """

    def __init__(self, add: Callable[[list[Any]], Any]) -> None:
        super().__init__()
        self.add = add

    def expand(self, parts: beam.PCollection) -> beam.PCollection:
        """Add within groups of buckets, then add the sums of the groups."""
        return (
            parts
            | "KeyByGroup" >> beam.Map(_key_by_group)
            | "GatherGroup" >> beam.GroupByKey()
            | "AddGroup" >> beam.MapTuple(lambda group, parts: (group, _add_sorted(parts, self.add)))
            | "AddGroups" >> GatherAll(_add_sorted, self.add)
        )


def _key_by_group(part: tuple[int, Any]) -> tuple[int, tuple[int, Any]]:
    return part[0] // GROUP, part


def _add_sorted(parts: Iterable[tuple[int, Any]], add: Callable[[list[Any]], Any]) -> Any:
    """Add numbered parts in ascending order of their numbers."""
    return add([part for _, part in sorted(parts, key=lambda part: part[0])])
