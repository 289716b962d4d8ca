"""Mean and spread over seeds, and the table for people."""

import statistics
from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa

from training.config import METHODS, MethodName

MEASURES = ("final_accuracy", "best_accuracy", "memorised")


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over `count` seeds; a single seed has no deviation."""

    mean: float
    deviation: float | None
    count: int

    def __str__(self) -> str:
        deviation = "" if self.deviation is None else f" ± {100 * self.deviation:.1f}"
        return f"{100 * self.mean:.1f}{deviation}"


def spread(values: list[float]) -> Spread:
    """Summarise at least one value."""
    return Spread(
        statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values)
    )


Key = tuple[str, float, MethodName]


def summarise(table: pa.Table) -> dict[Key, dict[str, Spread]]:
    """Return for each (colour, noise level, method) the spread of each measure over its finished seeds."""
    groups: dict[Key, list[dict[str, float]]] = defaultdict(list)
    for row in table.to_pylist():
        if row["status"] == "finished":
            groups[row["colour"], row["noise_level"], row["method"]].append(row)
    result = {}
    for key, rows in sorted(groups.items(), key=lambda item: (*item[0][:2], METHODS.index(item[0][2]))):
        values = {name: [row[name] for row in rows if row[name] is not None] for name in MEASURES}
        result[key] = {name: spread(numbers) for name, numbers in values.items() if numbers}
    return result


def markdown(table: pa.Table) -> str:
    """Render the summary: per cent, mean ± standard deviation over seeds."""
    lines = [
        "Test accuracy in per cent, mean ± standard deviation over seeds. Memorised: share of the wrong labels",
        "that the network predicts at the end of training.",
        "",
        "| colour | noise | method | seeds | final | best | drop | memorised |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (colour, level, method), measured in summarise(table).items():
        final, best = measured["final_accuracy"], measured["best_accuracy"]
        drop = f"{100 * (best.mean - final.mean):.1f}"
        memorised = str(measured.get("memorised", "–"))
        cells = (
            colour,
            f"{100 * level:.0f} %",
            method,
            str(final.count),
            str(final),
            str(best),
            drop,
            memorised,
        )
        lines.append(f"| {' | '.join(cells)} |")
    failed = [row for row in table.to_pylist() if row["status"] != "finished"]
    if failed:
        lines += ["", "Not in the table:", ""]
        lines += [f"- {row['run']}: {row['status']}. {row['error'] or ''}".rstrip() for row in failed]
    return "\n".join(lines) + "\n"
