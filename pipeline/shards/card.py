"""Write the dataset card: README.md with the metadata that Hugging Face's hub and library read."""

from collections.abc import Mapping
from typing import Any

import yaml

from page.markdown import one_line
from pipeline.rejections import printable
from pipeline.shards.document import Block, Code, Grid, Heading, Items, Paragraph, Verbatim, items, markdown
from schemas.example import SHARED_IMAGES, TEST_SET
from schemas.retrieval import ATTRIBUTION

ABOUT = Paragraph(
    "A benchmark of controlled label noise. Each training set is a config with a known share of wrong labels; all configs "
    "have the same test split. In red configs, web images that were verified as wrong replace clean images, and the labels "
    "stay. In blue configs, clean images stay and their labels are flipped. The column ",
    Code("is_clean"),
    " states whether a label is right. Of a wrong label, ",
    Code("noise_type"),
    " states whether the image shows another of the classes (closed) or none that is known (open). ",
    Code("p_wrong"),
    " is the estimated probability that the label of a web image is wrong, given the votes.",
)
"""What the sets are, in the card and wherever else a dataset is described."""

TRUE_NOISE = Paragraph(
    "Nominal and realized noise count labels that the votes call wrong. Some of these verdicts are mistaken: the estimated "
    "true noise counts each label of a web image with ",
    Code("p_wrong"),
    ". Its interval assumes that the error model of the votes holds; mistakes that most workers share are seen only with gold "
    "questions. Labels of clean and test images are taken as right.",
)

_STEPS = (
    "clean_images", "clean_images_kept", "test_images", "candidates", "candidates_kept", "candidates_without_votes",
    "candidates_undecided", "candidates_right", "candidates_wrong", "wrong_images",
)  # fmt: skip


# FOLDER and SET stand for the reader's own.
_JOIN = f"""images = datasets.load_dataset(FOLDER, "{SHARED_IMAGES}", split="train")
rows = {{image_id: row for row, image_id in enumerate(images["image_id"])}}
for example in datasets.load_dataset(FOLDER, SET, split="train"):
    image, label = images[rows[example["image_id"]]]["image"], example["label"]
"""
_NO_FOLDING = 1 << 20  # characters; a folded line could begin with the marks that end the header


def dataset_card(
    name: str,
    sets: Mapping[str, Mapping[str, Any]],
    set_values: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
) -> str:
    """Return the text of the card.

    `sets` has the entry of each set, and of the shared images, in the manifest of the dataset; `set_values` has what the
    manifest of each set states; `about` has the funnel, the search of `leaks` and the `licenses` of web images.
    """
    blocks = [
        Heading(name, 1),
        ABOUT,
        *set_blocks(sets, set_values),
        *shared_images(sets),
        Heading("How it was made"),
        funnel_table(about["funnel"]),
        Heading("Leaks of test images"),
        _leaks(about["leaks"]),
        *_licenses(about["licenses"]),
    ]
    return card_text({"pretty_name": one_line(name)}, sets, blocks)


def card_text(
    about: Mapping[str, Any],
    sets: Mapping[str, Mapping[str, Any]],
    blocks: list[Block],
    more_configs: tuple[Any, ...] = (),
) -> str:
    """Return a card: the YAML header with `about` and the files of each config, and the document.

    Hugging Face's hub and library find the files of each config in the header; `sets` has the digest of the manifest of each
    set and of the shared images, and more_configs the entries of other tables.
    """
    configs = [
        config_entry(
            name,
            [{"split": "train", "path": f"{name}/part-*.parquet"}],
            {name: sets[name]["manifest_sha256"]},
        )
        for name in sets
        if name == SHARED_IMAGES
    ]
    configs += [
        config_entry(
            name,
            [
                {"split": "train", "path": f"{name}/train-*.parquet"},
                {"split": "test", "path": f"{TEST_SET}/test-*.parquet"},
            ],
            {each: sets[each]["manifest_sha256"] for each in (name, TEST_SET)},
        )
        for name in sets
        if name not in (TEST_SET, SHARED_IMAGES)
    ]
    header = {**about, "task_categories": ["image-classification"], "configs": [*configs, *more_configs]}
    metadata = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=_NO_FOLDING)
    return f"---\n{metadata}---\n{markdown(blocks)}"


def config_entry(name: str, data_files: list[dict[str, str]], digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the entry of a config in the YAML header, with the digests of what it holds, by name.

    `load_dataset` caches a local folder by its last name and by these entries. Without a digest in them, it returns the
    examples that it has read from an earlier build, or from the folder `dataset` of another one.
    """
    stated = ", ".join(f"{key} {digest}" for key, digest in digests.items())
    return {"config_name": name, "description": f"SHA-256: {stated}", "data_files": data_files}


def set_blocks(
    sets: Mapping[str, Mapping[str, Any]], set_values: Mapping[str, Mapping[str, Any]]
) -> list[Block]:
    """Return the table of sets with nominal, realized and estimated noise, and what is special about some of them."""
    header = ["set", "examples", "nominal noise", "realized noise"]
    estimated = any(values.get("estimated_noise") for values in set_values.values())
    if estimated:
        header.append("estimated true noise (95 % interval)")
    rows = []
    for name, entry in sets.items():
        if name == SHARED_IMAGES:
            continue
        wrong = sum(row["noisy"] for row in set_values[name]["classes"])
        share = wrong / entry["rows"] if entry["rows"] else 0.0
        row = [name, f"{entry['rows']:,}", f"{entry['noise_level']:.1%}", f"{share:.2%}"]
        rows.append([*row, estimate_text(set_values[name])] if estimated else row)
    notes = [TRUE_NOISE] if estimated else []
    return [Grid(header, rows), *notes, *_without_clean(set_values), *_fixed_sets(set_values)]


def shared_images(sets: Mapping[str, Any]) -> list[Block]:
    """Return where the images are, if the sets have none of their own, and how to find that of an example."""
    if SHARED_IMAGES not in sets:
        return []
    return [
        Paragraph(
            "The sets share their images: the rows of a set have no image, and ", Code("image_id"), " is the id of a row of the "
            "config ", Code(SHARED_IMAGES), "."
        ),
        Verbatim(_JOIN, "python"),
    ]  # fmt: skip


def estimate_text(values: Mapping[str, Any]) -> str:
    """Return the estimated true noise of a set as '35.1 % (33.9 to 36.4)', or nothing if its manifest has none."""
    estimated = values.get("estimated_noise")
    if not estimated:
        return ""
    value, low, high = (100 * estimated[name] for name in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def funnel_table(funnel: Mapping[str, int]) -> Grid:
    """Return the number of rows left by each step of the build, in the order of the steps."""
    steps = sorted(funnel, key=lambda step: (_STEPS.index(step) if step in _STEPS else len(_STEPS), step))
    return Grid(("step", "count"), [(step.replace("_", " "), f"{funnel[step]:,}") for step in steps])


def _without_clean(set_values: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    classes = {
        name: values["classes_without_clean"]
        for name, values in set_values.items()
        if "classes_without_clean" in values
    }
    if not classes:
        return []
    lines = items(f"{name}: {', '.join(names)}" for name, names in classes.items())
    return [Paragraph("These sets have no right example of some classes:"), lines]


def _fixed_sets(set_values: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    fixed = {name: values["fixed_set"] for name, values in set_values.items() if values.get("fixed_set")}
    if not fixed:
        return []
    lines: Items = items(
        f"{name} ({values['not_ingested']:,} of its images are missing)" for name, values in fixed.items()
    )
    return [
        Paragraph(
            "The examples of these sets were given by a list. The realized noise above was measured; the nominal noise is "
            "the claim of the list:"
        ),
        lines,
    ]


def _leaks(leaks: Mapping[str, Any]) -> Paragraph:
    found = {source: leaks.get(f"leak_{source}", 0) for source in ("web", "clean")}
    kept = " (kept: dedupe.clean_leaks)" if leaks["clean_leaks"] == "keep" and found["clean"] else ""
    return Paragraph(
        f"{found['web']:,} web and {found['clean']:,} clean images{kept} were near a test image. {leaks['search']}"
    )


def _licenses(counts: Mapping[str, int]) -> list[Block]:
    if not any(counts):
        return []
    names = [part for field in ATTRIBUTION for part in (Code(field.name), ", ")][:-1]
    return [
        Heading("Licenses of the web images"),
        Paragraph("As stated by the search providers, not verified. Each example has ", *names, "."),
        Grid(
            ("license", "images"),
            [(printable(name) or "unknown", f"{count:,}") for name, count in counts.items()],
        ),
    ]
