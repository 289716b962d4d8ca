"""The dataset card: README.md with the metadata by which Hugging Face's hub and library find every set."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from pipeline.rejections import printable

ABOUT = """# {name}
A benchmark of controlled label noise. In *red* sets, verified wrong web images stand in the places of clean
ones and keep their labels; in *blue* sets, clean images have other labels. `is_clean` tells the right ones.
"""


def card(
    name: str,
    splits: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
) -> str:
    """The text of the card.

    `splits` has rows, color and noise_level of each set, `facts` its counts by class, `about` the funnel, and the `licenses` of web images.
    """
    parts = [
        _header(name, splits),
        ABOUT.format(name=name),
        *_sets(splits, facts),
        *_without_clean(facts),
        *_listed(facts),
    ]
    parts += ["", "## How it was made", "", "| step | count |", "|---|---:|"]
    parts += [f"| {step.replace('_', ' ')} | {count:,} |" for step, count in about["funnel"].items()]
    return "\n".join([*parts, *_licenses(about["licenses"])]) + "\n"


def _header(name: str, splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The YAML in front by which a library finds the files of each set."""
    configs = [
        {
            "config_name": split,
            "data_files": [
                {"split": "train", "path": f"{split}/train-*.parquet"},
                {"split": "test", "path": "test/test-*.parquet"},
            ],
        }
        for split in splits
        if split != "test"
    ]
    header = {"pretty_name": name, "task_categories": ["image-classification"], "configs": configs}
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---"


def _sets(splits: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| set | examples | nominal noise | realized noise |"
    yield "|---|---:|---:|---:|"
    for split, entry in splits.items():
        wrong = sum(row["noisy"] for row in facts[split]["classes"])
        share = wrong / entry["rows"] if entry["rows"] else 0.0
        yield f"| {split} | {entry['rows']:,} | {entry['noise_level']:.1%} | {share:.2%} |"


def _without_clean(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lacking = {
        split: fact["classes_without_clean"]
        for split, fact in facts.items()
        if "classes_without_clean" in fact
    }
    if not lacking:
        return []
    lines = [f"- {split}: {', '.join(map(_cell, names))}" for split, names in lacking.items()]
    return [
        "",
        "Sets without a clean image of some classes, which have wrong images only, or none:",
        "",
        *lines,
    ]


def _listed(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    listed = {split: fact["fixed_set"] for split, fact in facts.items() if fact.get("fixed_set")}
    if not listed:
        return []
    told = [f"{split} ({fact['not_ingested']:,} of its images missing)" for split, fact in listed.items()]
    return [
        "",
        f"Made exactly as listed, with the noise that they have and not the one that they claim: {', '.join(told)}.",
    ]


def _licenses(counts: Mapping[str, int]) -> list[str]:
    if not any(counts):
        return []
    return [
        "",
        "## Licenses of the web pictures",
        "",
        "As their search providers tell them: `license`, `license_url`, `creator` and `landing_url` of each example.",
        "",
        "| license | pictures |",
        "|---|---:|",
        *(f"| {_cell(name) or 'not told'} | {count:,} |" for name, count in counts.items()),
    ]


def _cell(text: str) -> str:
    """Text of a stranger, as a cell of a table: it neither ends it nor is read as HTML or as a link."""
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(printable(text).split()))
