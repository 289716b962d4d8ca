"""What a job counts: Beam's counters and distributions, which every engine shows, and a JSON file at its end."""

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from apache_beam.metrics import Metrics
from apache_beam.runners.runner import PipelineResult

from pipeline import files

NAMESPACE = "controlled-noise"


def count(name: str, amount: int = 1) -> None:
    """Add to a counter, from within a task."""
    Metrics.counter(NAMESPACE, name).inc(amount)


def timed(process: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
    """Decorate `process` of a DoFn: the milliseconds that each element takes become a distribution."""

    @functools.wraps(process)
    def measured(self: Any, element: Any) -> Iterator[Any]:
        start = time.monotonic()
        yield from process(self, element)
        milliseconds = int(1000 * (time.monotonic() - start))
        Metrics.distribution(NAMESPACE, f"{type(self).__name__}.milliseconds").update(milliseconds)

    return measured


def collect(result: PipelineResult) -> dict[str, Any]:
    """All counters and distributions of a finished job, by name."""
    found = result.metrics().query()
    counters = {
        metric.key.metric.name: metric.result
        for metric in found["counters"]
        if metric.key.metric.namespace == NAMESPACE
    }
    distributions = {
        metric.key.metric.name: {
            "count": metric.result.count,
            "sum": metric.result.sum,
            "min": metric.result.min,
            "max": metric.result.max,
        }
        for metric in found["distributions"]
        if metric.key.metric.namespace == NAMESPACE
    }
    return {"counters": dict(sorted(counters.items())), "distributions": dict(sorted(distributions.items()))}


def path(output: str, stage: str) -> str:
    """Where the metrics of a stage's last run are written."""
    return files.join(output, "metrics", f"{stage}.json")


def write(output: str, stage: str, told: Mapping[str, Any]) -> None:
    """Write the metrics of a stage; they hold times, so nothing else depends on them."""
    files.write_text(path(output, stage), json.dumps({"stage": stage, **told}, indent=2) + "\n")


def read(output: str, stage: str) -> dict[str, Any]:
    """The metrics of a stage's last run; empty where there are none."""
    where = path(output, stage)
    return dict(json.loads(files.read_text(where))) if files.exists(where) else {}
