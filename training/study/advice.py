"""Which method to choose for an estimated share of wrong labels, by a study's results, and how sure that is."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from common.config import percent_hint
from common.errors import UsageError
from training.show import show
from training.study.inference import Interval, compare, interval
from training.study.table import read
from training.study.tables import PeopleTable, Row, finished, grouped


@dataclass(frozen=True)
class Advice:
    """What is expected of each method at a noise level, the best first.

    expected: final test accuracy, as a share. as_good: the methods that the study does not tell apart from the best.
    """

    color: str
    noise: float
    between: tuple[float, float]
    expected: dict[str, Interval]
    as_good: list[str]

    @property
    def best(self) -> str:
        """The method of the highest expected accuracy."""
        return next(iter(self.expected))

    def table(self) -> PeopleTable:
        """The expectations, best first."""
        rows = [
            (
                method,
                100 * found.mean,
                None if found.half is None else 100 * found.half,
                found.count,
                "" if method in (self.best, *self.as_good) else "worse",
            )
            for method, found in self.expected.items()
        ]
        low, high = self.between
        note = "measured" if low == high else f"interpolated between {100 * low:g} % and {100 * high:g} %"
        return PeopleTable(
            "advice",
            f"{self.color} noise of {100 * self.noise:g} %",
            f"Expected final test accuracy in percent, {note}: mean over the seeds, and half of its 95 % interval.",
            ("method", "accuracy", "±", "seeds", "than the best"),
            rows,
        )

    def __str__(self) -> str:
        same = f"; not told apart from it: {', '.join(self.as_good)}" if self.as_good else ""
        return f"{self.table().title}: choose {self.best}{same}"


def advise(results: pa.Table, noise: float, color: str, setting: str = "", network: str = "") -> Advice:
    """Say what to choose at a noise level, by the final accuracies of a study.

    Each seed's accuracy is interpolated between the two measured levels around `noise`. A method is as good as the
    best if the paired t test over the seeds, with Holm's correction over the methods, does not tell them apart; so
    is one that cannot be tested. Raises UsageError where the study does not reach.
    """
    if not 0 <= noise < 1:
        raise UsageError(f"--noise is a share from 0 up to less than 1, got {noise:g}{percent_hint(noise)}")
    rows = [row for row in finished(results) if row["color"] == color]
    rows = _only(_only(rows, "setting", setting), "network", network)
    levels = sorted({row["noise_level"] for row in rows})
    if not levels:
        known = sorted({row["color"] for row in finished(results)})
        raise UsageError(
            f"--color: no finished run on {color!r} noise; the study has {', '.join(known) or 'none'}"
        )
    if not levels[0] <= noise <= levels[-1]:
        raise UsageError(
            f"--noise: {noise:g} is outside of what was measured, {levels[0]:g} to {levels[-1]:g}; a study says "
            "nothing there"
        )
    low, high = max(x for x in levels if x <= noise), min(x for x in levels if x >= noise)
    values = {method: _at(part, noise, low, high) for method, part in grouped(rows, "method")}
    expected = {method: interval(list(found.values())) for method, found in values.items() if found}
    if not expected:
        raise UsageError(f"--noise: no method has finished at both {low:g} and {high:g}")
    order = sorted(expected, key=lambda method: -expected[method].mean)
    compared = compare({method: values[method] for method in order}, against=order[0])
    worse = {c.other for c in compared if c.told_apart}
    as_good = [method for method in order[1:] if method not in worse]
    return Advice(color, noise, (low, high), {method: expected[method] for method in order}, as_good)


def _only(rows: list[Row], name: str, wanted: str) -> list[Row]:
    """Keep the rows of one setting or network; UsageError if none is named and there are several, or none is so called."""
    known = sorted({row[name] for row in rows})
    if len(known) > 1 and not wanted:
        raise UsageError(f"--{name}: the study has several, name one: {', '.join(known)}")
    if wanted and rows and wanted not in known:
        raise UsageError(f"--{name}: the study has no {wanted!r}; it has {', '.join(known)}")
    return [row for row in rows if row[name] == (wanted or known[0])] if rows else []


def _at(rows: Sequence[Row], noise: float, low: float, high: float) -> dict[object, float]:
    """For each seed that has both levels its accuracy, interpolated."""
    by = {(row["noise_level"], row["seed"]): row["final_accuracy"] for row in rows}
    share = 0.0 if low == high else (noise - low) / (high - low)
    return {
        seed: (1 - share) * by[low, seed] + share * by[high, seed]
        for level, seed in by
        if level == low and (high, seed) in by
    }


def verb(arguments: argparse.Namespace) -> int:
    """Print the advice; needs no torch."""
    results = read(arguments.study)
    colors = [arguments.color] if arguments.color else sorted({row["color"] for row in finished(results)})
    found = [advise(results, arguments.noise, c, arguments.setting, arguments.network) for c in colors]
    if arguments.json:
        told: dict[str, Any] = {one.color: {**asdict(one), "best": one.best} for one in found}
        show(told, as_json=True)
        return 0
    for one in found:
        print(f"{one}\n\n{one.table().note}\n\n{one.table().markdown()}")
    return 0
