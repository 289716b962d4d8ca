"""One sentence per color of noise: which method (and setting) is best, and from which it differs significantly."""

import pyarrow as pa

from training.study.series import with_series
from training.study.significance import compare, mean_interval
from training.study.summary_tables import Row, finished, grouped


def best_method_sentences(results: pa.Table) -> list[str]:
    """Return a sentence for each network and color with at least two series and two seeds."""
    groups = list(grouped(with_series(finished(results)), "network", "color"))
    several = len({network for (network, _), _ in groups}) > 1
    sentences = []
    for (network, color), rows in groups:
        name = f"{color} noise ({network})" if several else f"{color} noise"
        if sentence := _best_method(rows):
            sentences.append(f"{name}: {sentence}")
    return sentences


def _best_method(rows: list[Row]) -> str | None:
    """Compare the series over the cells (level above 0, seed) that all of them have; None if these are too few."""
    values = {
        str(series): {_cell(row): 100 * row["final_accuracy"] for row in part if row["noise_level"]}
        for series, part in grouped(rows, "series")
    }
    cells = set.intersection(*map(set, values.values()))
    levels, seeds = sorted({level for level, _ in cells}), {seed for _, seed in cells}
    if len(values) < 2 or len(seeds) < 2:
        return None
    shared = {name: {cell: by_cell[cell] for cell in cells} for name, by_cell in values.items()}
    means = {name: mean_interval(list(by_cell.values())).mean for name, by_cell in shared.items()}
    best = max(means, key=lambda name: means[name])
    comparisons = compare(shared, reference=best)
    worse = [comparison.second for comparison in comparisons if comparison.is_significant]
    close = [comparison.second for comparison in comparisons if not comparison.is_significant]
    parts = [f"significantly above {_listed(worse)}"] if worse else []
    parts += [f"not distinguishable from {_listed(close)}"] if close else []
    return (
        f"{best} has the highest mean final test accuracy, {means[best]:.1f} %, over "
        f"{_listed([f'{100 * level:g} %' for level in levels])} wrong labels and {len(seeds)} seeds; it is "
        f"{' and '.join(parts)} (paired t tests over level and seed with Holm's correction, p < 0.05)."
    )


def _cell(row: Row) -> tuple[float, int]:
    return row["noise_level"], row["seed"]


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
