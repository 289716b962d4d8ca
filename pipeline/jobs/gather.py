"""Pass all elements of a PCollection to one function."""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam


class GatherAll(beam.PTransform):
    """Call `function(elements, *arguments)` once, with the list of all elements; output its result.

    The list is in no particular order, and empty if there are no elements. This takes two steps; CombineGlobally and Map take
    nine and a shuffle. In a small job, Beam's overhead per step is most of the time.
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
    """Call `function` with the list of `elements`; the first argument is the only element of Impulse."""
    return function(list(elements), *arguments)
