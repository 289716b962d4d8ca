"""Summary of the demo: planted and caught problems, verdicts, and accuracy against noise."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.evaluation import Evaluation
from demo.shapes import CLASSES
from demo.world import Size
from page.markdown import markdown_table

Means = dict[tuple[str, str, float], float]  # (color, method, noise level) to accuracy in percent


@dataclass(frozen=True)
class SummaryPage:
    """The summary as Markdown, and its path."""

    path: Path
    text: str


def write(output: Path, size: Size, found: Evaluation, rows: Sequence[dict[str, Any]]) -> SummaryPage:
    """Write summary.md below `output`; `rows` are what `training study --json` prints."""
    n = len(CLASSES)
    intro = (
        f"{n} classes, {n * size.clean:,} clean and {n * size.test:,} test images; {size.right} right and {size.wrong} "
        f"wrong web images per class; {size.workers} simulated workers."
    )
    parts = [
        "# Demo",
        intro,
        _caught(found),
        _verdicts(found),
        _accuracy(rows),
        _seen(rows),
        _files(),
    ]
    text = "\n\n".join(parts) + "\n"
    path = output / "summary.md"
    path.write_text(text, encoding="utf-8")
    return SummaryPage(path, text)


def _caught(found: Evaluation) -> str:
    rows = [(kind, planted, caught) for kind, (caught, planted) in found.caught.items()]
    note = f"Images removed as near-duplicates that are not copies: {found.false_duplicates}."
    return "## Planted problems\n\n" + markdown_table(("problem", "planted", "caught"), rows) + "\n\n" + note


def _verdicts(found: Evaluation) -> str:
    answers = ("yes", "no", "undecided")
    rows = [
        ("right" if truth else "wrong", *(found.verdicts.get((truth, answer), 0) for answer in answers))
        for truth in (True, False)
    ]
    note = (
        f"{100 * found.verdict_accuracy:.1f} % of the yes and no verdicts are correct; {100 * found.noise_precision:.1f} % "
        "of the images with verdict no, the source of red noise, are really wrong."
    )
    return "## Verdicts\n\n" + markdown_table(("truth", *answers), rows) + "\n\n" + note


def _means(rows: Sequence[dict[str, Any]], measure: str) -> Means:
    values = defaultdict(list)
    for row in rows:
        if row["status"] == "finished" and row[measure] is not None:
            values[row["color"], row["method"], row["noise_level"]].append(100 * row[measure])
    return {key: statistics.fmean(numbers) for key, numbers in values.items()}


def _accuracy(rows: Sequence[dict[str, Any]]) -> str:
    final, best, memorized = (_means(rows, m) for m in ("final_accuracy", "best_accuracy", "memorized"))
    columns = sorted({(color, method) for color, method, _ in final}, reverse=True)  # red, vanilla first
    table = []
    for level in sorted({level for _, _, level in final}):
        cells = []
        for column in columns:
            key = (*column, level)
            parts = [
                f"{final[key]:.1f}",
                f"{best[key]:.1f}",
                f"{memorized[key]:.0f}" if key in memorized else "–",
            ]
            cells.append(" / ".join(parts))
        table.append((f"{100 * level:.0f} %", *cells))
    head = ("wrong labels", *(f"{color}, {method}" for color, method in columns))
    seeds = len({row["seed"] for row in rows})
    note = (
        "Test accuracy of the last epoch / of the best epoch / share of wrong labels memorized, in percent; "
        f"{seeds} seed{'s' if seeds > 1 else ''}."
    )
    return "## Accuracy\n\n" + markdown_table(head, table) + "\n\n" + note


def _seen(rows: Sequence[dict[str, Any]]) -> str:
    """Compare the numbers with the findings of the paper."""
    final = _means(rows, "final_accuracy")
    levels = sorted({level for _, _, level in final})
    low, high = levels[0], levels[-1]
    lines = []
    for color in sorted({color for color, _, _ in final}, reverse=True):
        fall = {m: final[color, m, low] - final[color, m, high] for m in ("vanilla", "mentormix")}
        verdict = (
            "less, as in the paper" if fall["mentormix"] < fall["vanilla"] else "not less, unlike the paper"
        )
        lines.append(
            f"- {color}: up to {100 * high:.0f} % wrong labels, vanilla loses {fall['vanilla']:.1f} points and "
            f"MentorMix {fall['mentormix']:.1f}: {verdict}."
        )
    if {"red", "blue"} <= {color for color, _, _ in final}:
        gap = final["red", "vanilla", high] - final["blue", "vanilla", high]
        word = (
            "noise hurts less than blue noise, as in the paper"
            if gap > 0
            else "noise hurts no less than blue noise, unlike the paper"
        )
        lines.append(f"- red {word}: the accuracy of vanilla is {gap:+.1f} points relative to blue noise.")
    return "## Findings\n\n" + "\n".join(lines)


def _files() -> str:
    files = {
        "dataset/": "the training sets, the test set, and the card",
        "study/summary.md": "figures and tables of the study (study/figures, study/tables), drawn from its two Parquet tables",
        "ingest/, aggregate/, dedupe/": "tables of the intermediate stages",
        "world/": "the input: lists, votes, clean and test images; and the ground truth in truth.csv",
    }
    return "## Files\n\n" + "\n".join(f"- `{name}`: {what}" for name, what in files.items())
