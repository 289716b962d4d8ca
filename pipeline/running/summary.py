"""The result of each finished stage: counts for `--json`, and one sentence for the terminal."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from common.plural import counted
from pipeline.aggregate.verdict_checks import METRICS, warnings
from pipeline.config import BuildConfig
from pipeline.noise.true_level import describe_sets
from pipeline.running.progress import stage_line
from pipeline.running.stage import counts
from schemas.manifest import Manifest

Tables = Mapping[str, Manifest]
Counts = dict[str, int]

_CANDIDATES = {"no": "wrong", "yes": "right", "undecided": "undecided"}  # verdict → count of the split stage


def stage_counts(stage: str, tables: Tables) -> Counts:
    """Return the counts of a stage by name, from the manifests of its tables."""
    return _COUNTS[stage](tables)


def stage_sentence(stage: str, found: Counts) -> str:
    """Describe the counts of a stage in one sentence."""
    return _SENTENCES[stage](found)


def sets_without_clean(dataset: Manifest) -> Iterator[str]:
    """Yield a warning for each set that has no clean image of some classes."""
    for name, entry in dataset.about["sets"].items():
        if lacking := entry.get("classes_without_clean"):
            yield f"warning: {name} has no clean image of {', '.join(lacking)}"


def result_notes(stage: str, config: BuildConfig, tables: Tables) -> Iterator[str]:
    """Yield the lines that follow the sentence of a stage: warnings, and the estimated true noise of the sets."""
    if stage == "aggregate":
        for warning in warnings(counts(tables["verdicts"]), config.aggregate.method):
            yield f"warning: {warning}"
    if stage == "split":
        for line in describe_sets(tables["dataset"].about["sets"]):
            yield stage_line("", line)
        yield from sets_without_clean(tables["dataset"])


def _fetch_counts(tables: Tables) -> Counts:
    found = counts(tables["fetched"])
    failed = {f"failed_{code}": n for code, n in found.items() if code != "bodies"}
    return {"urls": tables["fetched"].rows, "bodies": found.get("bodies", 0), **failed}


def _ingest_counts(tables: Tables) -> Counts:
    return {
        "rows_in": counts(tables["retrievals"])["rows_in"],
        "rows": tables["retrievals"].rows,
        "images": tables["images"].rows,
        **_rejected(tables["rejections"]),
    }


def _aggregate_counts(tables: Tables) -> Counts:
    verdicts = {
        name: n
        for name, n in counts(tables["verdicts"]).items()
        if name not in ("votes", "votes_in", *METRICS)
    }
    votes_in = counts(tables["verdicts"]).get("votes_in", 0)  # a build of blue sets alone needs no votes
    workers = tables["workers"].rows
    return {"votes_in": votes_in, **verdicts, "workers": workers, **_rejected(tables["rejections"])}


def _embed_counts(tables: Tables) -> Counts:
    features = tables["features"]
    values = counts(features).get("values", 0)
    return {"images": features.rows, "dimension": values // features.rows if features.rows else 0}


def _dedupe_counts(tables: Tables) -> Counts:
    return counts(tables["duplicates"])


def _split_counts(tables: Tables) -> Counts:
    about: Mapping[str, Any] = tables["dataset"].about
    sets = [entry for entry in about["sets"].values() if entry["noise_level"] is not None]
    return {
        "classes": len(about["config"]["classes"]),
        **about["funnel"],
        "sets": len(sets),
        "examples": sum(entry["rows"] for entry in sets),
        "fixed_set_examples_without_image": sum(entry.get("not_ingested", 0) for entry in sets),
    }


def _rejected(rejections: Manifest) -> Counts:
    return {f"rejected_{code}": n for code, n in counts(rejections).items()}


def _fetch_sentence(found: Counts) -> str:
    text = f"{counted(found['urls'], 'URL')}: {found['bodies']:,} fetched"
    return text + _by_code(found, "failed_", "failed")


def _ingest_sentence(found: Counts) -> str:
    text = f"{counted(found['rows_in'], 'row')}: {counted(found['images'], 'image')}"
    return text + _by_code(found, "rejected_", "rejected")


def _aggregate_sentence(found: Counts) -> str:
    if not found["votes_in"]:
        return "no votes"
    text = (
        f"{counted(found['votes_in'], 'vote')} by {counted(found['workers'], 'worker')}: {_verdicts(found)}"
    )
    text += _by_code(found, "rejected_", "votes rejected", separator="; ")
    if ignored := found.get("unusable_seen_class"):
        text += f"; seen_class ignored in {counted(ignored, 'vote')} (not another listed class, or the answer is not no)"
    return text


def _embed_sentence(found: Counts) -> str:
    return f"{counted(found['images'], 'image')}: {found['dimension']:,} features each"


def _dedupe_sentence(found: Counts) -> str:
    reasons = {
        "exact": ("exact copy", "exact copies"),
        "near": ("near-duplicate", "near-duplicates"),
        "leak": ("leak of a test image", "leaks of test images"),
    }
    totals = {
        reason: sum(n for name, n in found.items() if name.startswith(f"{reason}_")) for reason in reasons
    }
    parts = [counted(n, *reasons[reason]) for reason, n in totals.items() if n]
    removed = f"; {counted(found['removed'], 'image')} removed" if parts else ""
    if altered := found.get("embedding", 0):
        parts[-1] += f" ({counted(altered, 'altered copy', 'altered copies')})"
    pairs = counted(found["image_pairs"], "image pair")
    return f"{pairs} compared: {', '.join(parts) or 'none are alike'}{removed}"


def _split_sentence(found: Counts) -> str:
    shape = f"{counted(found['classes'], 'class', 'classes')}, {counted(found['sets'], 'set')}"
    verdicts = {verdict: found[f"candidates_{name}"] for verdict, name in _CANDIDATES.items()}
    text = f"{shape} with {counted(found['examples'], 'example')}: {_verdicts(verdicts)}"
    if found["candidates_without_votes"]:
        text += f", {found['candidates_without_votes']:,} without votes"
    if found["fixed_set_examples_without_image"]:
        text += f"; {counted(found['fixed_set_examples_without_image'], 'example')} of fixed sets without an image"
    return text


def _verdicts(found: Counts) -> str:
    wrong, right, undecided = (found.get(name, 0) for name in ("no", "yes", "undecided"))
    return f"{counted(wrong, 'verified-wrong candidate')}, {right:,} right, {undecided:,} undecided"


def _by_code(found: Counts, prefix: str, label: str, separator: str = ", ") -> str:
    """Return ', 24 failed (16 not_found, 8 empty)' for the counts with this prefix; empty text where there are none."""
    codes = {name.removeprefix(prefix): n for name, n in found.items() if name.startswith(prefix) and n}
    if not codes:
        return ""
    listed = ", ".join(
        f"{n:,} {code}" for code, n in sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"{separator}{sum(codes.values()):,} {label} ({listed})"


_COUNTS: dict[str, Callable[[Tables], Counts]] = {
    "fetch": _fetch_counts,
    "ingest": _ingest_counts,
    "aggregate": _aggregate_counts,
    "embed": _embed_counts,
    "dedupe": _dedupe_counts,
    "split": _split_counts,
}
_SENTENCES: dict[str, Callable[[Counts], str]] = {
    "fetch": _fetch_sentence,
    "ingest": _ingest_sentence,
    "aggregate": _aggregate_sentence,
    "embed": _embed_sentence,
    "dedupe": _dedupe_sentence,
    "split": _split_sentence,
}
