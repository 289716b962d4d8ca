"""One sentence per color of noise: which method is best, and from which others it differs significantly."""

import pyarrow as pa

from training.study.significance import compare, mean_interval
from training.study.summary_tables import Row, finished, grouped


def best_method_sentences(results: pa.Table) -> list[str]:
    """Return a sentence for each setting, network and color with at least two methods and two seeds."""
    groups = list(grouped(finished(results), "setting", "network", "color"))
    several = len({(setting, network) for (setting, network, _), _ in groups}) > 1
    sentences = []
    for (setting, network, color), rows in groups:
        name = f"{color} noise ({setting}, {network})" if several else f"{color} noise"
        if sentence := _best_method(rows):
            sentences.append(f"{name}: {sentence}")
    return sentences


def _best_method(rows: list[Row]) -> str | None:
    """Compare the methods over the cells (level above 0, seed) that all of them have; None if these are too few."""
    values = {
        method: {_cell(row): 100 * row["final_accuracy"] for row in part if row["noise_level"]}
        for method, part in grouped(rows, "method")
    }
    cells = set.intersection(*map(set, values.values()))
    levels, seeds = sorted({level for level, _ in cells}), {seed for _, seed in cells}
    if len(values) < 2 or len(seeds) < 2:
        return None
    shared = {method: {cell: by_cell[cell] for cell in cells} for method, by_cell in values.items()}
    means = {method: mean_interval(list(by_cell.values())).mean for method, by_cell in shared.items()}
    best = max(means, key=lambda method: means[method])
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
