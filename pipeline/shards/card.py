"""Write the dataset card: README.md with the metadata that Hugging Face's hub and library read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from pipeline.noise.true_level import describe
from pipeline.rejections import printable
from schemas.example import TEST_SET

ABOUT = """# {name}
A benchmark of controlled label noise. Each training set is a *config* with a known share of wrong labels; all configs have
the same test split. In *red* configs, web images that were verified as wrong replace clean images, and the labels stay.
In *blue* configs, clean images stay and their labels are flipped. The column `is_clean` states whether a label is right.
Of a wrong label, `noise_type` states whether the image shows another of the classes (closed) or none that is known (open).
`p_wrong` is the estimated probability that the label of a web image is wrong, given the votes.
"""

TRUE_NOISE = """
Nominal and realized noise count labels that the votes call wrong. Some of these verdicts are mistaken: the estimated true
noise counts each wrong label with `p_wrong`. Its interval assumes that the error model of the votes holds; mistakes that
most workers share are seen only with gold questions. Labels of clean and test images are taken as right."""


def dataset_card(
    name: str,
    sets: Mapping[str, Mapping[str, Any]],
    set_values: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
) -> str:
    """Return the text of the card.

    `sets` has rows, color and noise level of each set; `set_values` has what the manifest of each set states; `about` has
    the funnel and the `licenses` of web images.
    """
    parts = [
        _header(name, sets),
        ABOUT.format(name=name),
        *_table_of_sets(sets, set_values),
        *_without_clean(set_values),
        *_fixed_sets(set_values),
    ]
    parts += ["", "## How it was made", "", "| step | count |", "|---|---:|"]
    parts += [f"| {step.replace('_', ' ')} | {count:,} |" for step, count in about["funnel"].items()]
    return "\n".join([*parts, *_licenses(about["licenses"])]) + "\n"


def _header(title: str, sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the YAML header, in which Hugging Face's hub and library find the files of each config."""
    configs = [
        {
            "config_name": name,
            "data_files": [
                {"split": "train", "path": f"{name}/train-*.parquet"},
                {"split": "test", "path": "test/test-*.parquet"},
            ],
        }
        for name in sets
        if name != TEST_SET
    ]
    header = {"pretty_name": title, "task_categories": ["image-classification"], "configs": configs}
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---"


def _table_of_sets(
    sets: Mapping[str, Mapping[str, Any]], set_values: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    yield "| set | examples | nominal noise | realized noise | estimated true noise (95 % interval) |"
    yield "|---|---:|---:|---:|---:|"
    for name, entry in sets.items():
        wrong = sum(row["noisy"] for row in set_values[name]["classes"])
        share = wrong / entry["rows"] if entry["rows"] else 0.0
        estimated = set_values[name].get("estimated_noise")
        text = describe(None, estimated).removeprefix("estimated ") if estimated else ""
        yield f"| {name} | {entry['rows']:,} | {entry['noise_level']:.1%} | {share:.2%} | {text} |"
    if any(values.get("estimated_noise") for values in set_values.values()):
        yield TRUE_NOISE


def _without_clean(set_values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    classes = {
        name: values["classes_without_clean"]
        for name, values in set_values.items()
        if "classes_without_clean" in values
    }
    if not classes:
        return []
    lines = [f"- {name}: {', '.join(map(_cell, names))}" for name, names in classes.items()]
    return ["", "These sets have no right example of some classes:", "", *lines]


def _fixed_sets(set_values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    fixed = {name: values["fixed_set"] for name, values in set_values.items() if values.get("fixed_set")}
    if not fixed:
        return []
    lines = [
        f"- {name} ({values['not_ingested']:,} of its images are missing)" for name, values in fixed.items()
    ]
    return [
        "",
        "The examples of these sets were given by a list. The realized noise above was measured; the nominal noise is the "
        "claim of the list:",
        "",
        *lines,
    ]


def _licenses(counts: Mapping[str, int]) -> list[str]:
    if not any(counts):
        return []
    return [
        "",
        "## Licenses of the web images",
        "",
        "As stated by the search providers, not verified. Each example has `license`, `license_url`, `creator` and "
        "`landing_url`.",
        "",
        "| license | images |",
        "|---|---:|",
        *(f"| {_cell(name) or 'unknown'} | {count:,} |" for name, count in counts.items()),
    ]


def _cell(text: str) -> str:
    """Escape untrusted text for a cell of a Markdown table."""
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(printable(text).split()))
