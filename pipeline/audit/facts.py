"""What the audit of a build says, for other stages, the report and the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from pyarrow import compute as pc

from pipeline import files
from pipeline.audit.label_errors import EstimatedShare
from pipeline.layout import Layout
from pipeline.shards import directory
from pipeline.shards.dataset_manifests import read_set_manifest
from schemas.example import EXAMPLE


def label_noise(output: str) -> dict[str, EstimatedShare]:
    """Return the estimated share of wrong labels of clean and test images, by source; {} without an audit.

    Raises DataError if the manifest of the audit is damaged.
    """
    manifest = directory.find_manifest(Layout(output).suspects)
    labels = manifest.about.get("labels", {}) if manifest else {}
    return {source: EstimatedShare(**facts["wrong"]) for source, facts in sorted(labels.items())}


def levels_with_label_errors(output: str) -> dict[str, EstimatedShare]:
    """Return the true noise of each training set with the errors of its clean labels, by set; {} without an audit.

    A set of which the share p is stated as wrong (the realized noise, which `on_shortage: cap` and fixed sets may keep from
    the nominal level), the share k is of clean lists with their label, and the share q of clean labels is wrong, has the
    noise estimated from the votes (p, for flipped labels) and k·q more. k is 1 − p, but in fixed sets, which may have web
    images with the verdict yes: the votes estimate the errors of these. Bounds are added, so an interval of two 95 %
    intervals covers at least 90 %.
    Raises DataError if a manifest is damaged.
    """
    layout = Layout(output)
    clean, root = label_noise(output).get("clean"), directory.find_manifest(layout.dataset)
    if clean is None or root is None:
        return {}
    levels = {}
    for name, entry in root.about["sets"].items():
        if not entry.get("color"):
            continue
        about = read_set_manifest(layout.dataset, name).about
        rows, noisy = (sum(row[key] for row in about["classes"]) for key in ("rows", "noisy"))
        votes = entry.get("estimated_noise") or dict.fromkeys(("value", "low", "high"), noisy / rows)
        kept = (_as_listed(layout.dataset, name) if about.get("fixed_set") else rows - noisy) / rows
        levels[name] = EstimatedShare(
            *(
                min(1.0, votes[key] + kept * getattr(clean, of))
                for key, of in (("value", "share"), ("low", "low"), ("high", "high"))
            )
        )
    return levels


def _as_listed(dataset: str, name: str) -> int:
    """Return how many examples of a set have the label of a clean list."""
    table = directory.read_table(files.join(dataset, name), EXAMPLE, ["is_clean", "source"])
    return int(pc.sum(pc.and_(table["is_clean"], pc.equal(table["source"], "clean"))).as_py() or 0)


def sentences(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, sentence) for the terminal, from what the manifest of the table states."""
    for source, of in facts["labels"].items():
        wrong = of["wrong"]
        yield (
            source,
            f"{of['images']:,} labels: {_percent(wrong['low'])} to {_percent(wrong['high'])} % are wrong (95 % interval)",
        )
    # a manifest has its keys in alphabetical order, the audit that has just run has not
    for verdict in ("yes", "no"):
        if of := facts["verdicts"].get(verdict):
            yield (
                verdict,
                f"{of['questions']:,} verdicts: {_percent(of['wrong'])} % are expected to be wrong "
                f"({_percent(of['wrong_by_votes'])} % by the votes alone)",
            )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
