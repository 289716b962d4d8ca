"""Metrics of a job: Beam counters and distributions, which every engine displays."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from apache_beam.metrics import Metrics
from apache_beam.runners.runner import PipelineResult

NAMESPACE = "controlled-noise"


def count(name: str, amount: int = 1) -> None:
    """Increment a counter from within a task."""
    Metrics.counter(NAMESPACE, name).inc(amount)


def timed(process: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
    """Decorate the `process` method of a DoFn to record the milliseconds per element as a distribution."""

    @functools.wraps(process)
    def measured(self: Any, element: Any) -> Iterator[Any]:
        start = time.monotonic()
        yield from process(self, element)
        milliseconds = int(1000 * (time.monotonic() - start))
        Metrics.distribution(NAMESPACE, f"{type(self).__name__}.milliseconds").update(milliseconds)

    return measured


def collect(result: PipelineResult) -> dict[str, Any]:
    """Return all counters and distributions of a finished job, by name."""
    metrics = result.metrics().query()
    counters = {
        metric.key.metric.name: metric.result
        for metric in metrics["counters"]
        if metric.key.metric.namespace == NAMESPACE
    }
    distributions = {
        metric.key.metric.name: {
            "count": metric.result.count,
            "sum": metric.result.sum,
            "min": metric.result.min,
            "max": metric.result.max,
        }
        for metric in metrics["distributions"]
        if metric.key.metric.namespace == NAMESPACE
    }
    return {"counters": dict(sorted(counters.items())), "distributions": dict(sorted(distributions.items()))}
