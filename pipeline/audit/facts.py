"""What the audit of a build says, for other stages, the report and the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.audit.label_errors import Estimate
from pipeline.layout import Layout
from pipeline.shards import directory


def label_noise(output: str) -> dict[str, Estimate]:
    """Return the estimated share of wrong labels of clean and test images, by source; {} without an audit.

    Raises DataError if the manifest of the audit is damaged.
    """
    manifest = directory.find_manifest(Layout(output).suspects)
    labels = manifest.about.get("labels", {}) if manifest else {}
    return {source: Estimate(**facts["wrong"]) for source, facts in sorted(labels.items())}


def sentences(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, sentence) for the terminal, from what the manifest of the table states."""
    for source, of in facts["labels"].items():
        wrong = of["wrong"]
        yield (
            source,
            f"{of['images']:,} labels: {_percent(wrong['low'])} to {_percent(wrong['high'])} % are wrong (95 % interval)",
        )
    for verdict, of in facts["verdicts"].items():
        yield (
            verdict,
            f"{of['questions']:,} verdicts: {_percent(of['wrong'])} % are expected to be wrong "
            f"({_percent(of['wrong_by_votes'])} % by the votes alone)",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
