"""Gather the elements of a PCollection into one list, for a step that needs all of them."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam


class GatherAll(beam.PTransform):
    """PCollection → one list of its elements in no particular order, empty if there are none.

    Two steps, against eight and a shuffle of CombineGlobally(ToListCombineFn()): Beam's own work for each step is most of the
    time of a small job.
    """

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Read the elements as a side input."""
        return (
            elements.pipeline
            | "Once" >> beam.Impulse()
            | "List" >> beam.Map(_as_list, beam.pvalue.AsIter(elements))
        )


def _as_list(_: bytes, elements: Iterable[Any]) -> list[Any]:
    return list(elements)
