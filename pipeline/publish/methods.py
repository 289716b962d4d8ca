"""Write the methods paragraph and the appendix of a paper about a dataset, as one document for Markdown and LaTeX."""

import yaml

from page.markdown import one_line
from pipeline.publish import statements as say
from pipeline.publish.facts import OVERALL_MEASURES
from pipeline.publish.release import Release
from pipeline.publish.tables import link_rot, rejection_table
from pipeline.shards.card import funnel_table, set_blocks
from pipeline.shards.document import Block, Grid, Heading, Paragraph, Verbatim, items


def methods(release: Release) -> list[Block]:
    """Return the document: a section for the paper, and one for its appendix."""
    facts = release.facts
    values = {name: manifest.about for name, manifest in facts.sets.items()}
    return [
        Heading(f"Data: {one_line(release.title)}", 1),
        Paragraph(say.collection(release)),
        Paragraph(say.annotation(release)),
        Paragraph(" ".join(say.agreement(release))),
        Paragraph(say.duplicates(release)),
        Paragraph(_sets(release)),
        Paragraph(" ".join(say.noise(release))),
        Heading("Appendix: construction of the dataset", 1),
        Heading("Sets"),
        *set_blocks(facts.entries, values),
        Heading("Wrong labels by class"),
        *_classes(release),
        Heading("Rows left by each step"),
        funnel_table(facts.root["funnel"]),
        Heading("Rejections"),
        rejection_table(release),
        *link_rot(release, 2),
        Heading("Agreement of the workers"),
        *_agreement(release),
        Heading("Configuration"),
        Paragraph(
            f"Seed {facts.root['config']['seed']}; controlled-noise {facts.root.get('code_version', '')}; "
            + ", ".join(f"{name} {version}" for name, version in facts.root.get("libraries", {}).items())
            + "."
        ),
        Verbatim(_configuration(release), "yaml"),
    ]


def _sets(release: Release) -> str:
    sets = [each.about for each in release.facts.sets.values()]
    seed = release.facts.root["config"]["seed"]
    return " ".join([say.training_sets(sets, seed), say.manipulation(sets), say.class_counts(sets)])


def _classes(release: Release) -> list[Block]:
    """Return the rows and wrong labels of each class in the set with most noise of each color."""
    highest: dict[str, str] = {}
    for name, manifest in release.facts.sets.items():
        color = manifest.about.get("color")
        if color and (
            color not in highest
            or manifest.about["noise_level"] > release.facts.sets[highest[color]].about["noise_level"]
        ):
            highest[color] = name
    header = ["class", "test"]
    columns = [[row["rows"] for row in release.facts.sets["test"].about["classes"]]]
    for name in highest.values():
        header += [f"{name}: rows", "wrong"]
        counted = release.facts.sets[name].about["classes"]
        columns += [[row["rows"] for row in counted], [row["noisy"] for row in counted]]
    rows = [
        [name, *(f"{column[index]:,}" for column in columns)]
        for index, name in enumerate(release.facts.classes)
    ]
    return [
        Paragraph("The table has the set with the highest level of each color."),
        Grid(header, rows),
    ]


def _agreement(release: Release) -> list[Block]:
    votes = release.facts.votes
    if not votes.agreement:
        return [Paragraph("There are no votes to compare.")]
    rows = [
        (OVERALL_MEASURES[name], "all classes", say.number(each)) for name, each in votes.agreement.items()
    ]
    rows += [
        (OVERALL_MEASURES["krippendorff_alpha"], name, say.number(votes.by_class[name]))
        for name in release.facts.classes
        if name in votes.by_class
    ]
    return [
        items([f"{votes.workers:,} workers, {votes.suspicious:,} of them with suspicious answers."]),
        Grid(("measure", "class", "value"), rows, 2),
    ]


def _configuration(release: Release) -> str:
    """Return the values that affect results, in the form of the configuration file."""
    merged: dict[str, object] = {}
    for config in release.facts.stages.values():
        merged |= config
    order = ("name", "seed", "classes", "clean", "test", "web", "votes")
    first = {key: merged[key] for key in order if key in merged}
    return yaml.safe_dump({**first, **merged}, sort_keys=False, allow_unicode=True, width=100)
