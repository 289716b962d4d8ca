"""Pass all elements of a PCollection to one function."""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam


class GatherAll(beam.PTransform):
    """PCollection → one element: `function` of the list of all elements, which has no order, and of further arguments.

    The list is empty if there are none. Two steps, against nine and a shuffle of CombineGlobally and Map: Beam's own work for
    each step is most of the time of a small job.
    """

    def __init__(self, function: Callable[..., Any] = list, *arguments: Any) -> None:
        super().__init__()
        self.function, self.arguments = function, arguments

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Read the elements as a side input."""
        return (
            elements.pipeline
            | "Once" >> beam.Impulse()
            | "Call" >> beam.Map(call_with_all, beam.pvalue.AsIter(elements), self.function, *self.arguments)
        )


def call_with_all(_: bytes, elements: Iterable[Any], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function of a GatherAll."""
    return function(list(elements), *arguments)
