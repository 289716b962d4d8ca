"""The pages made from the code are those that are in docs/, and every verb is declared as the others are."""

import argparse
import re
import shlex

import pytest

from pipeline import __main__ as pipeline_line
from pipeline import verbs as pipeline_verbs
from scripts import reference
from training import __main__ as training_line


@pytest.mark.parametrize("file", sorted(reference.pages()))
def test_pages_are_those_of_the_code(file: str) -> None:
    written = (reference.DOCS / file).read_text(encoding="utf-8")
    assert written == reference.pages()[file], "run: python scripts/reference.py"


def verbs() -> list[tuple[str, argparse.ArgumentParser, argparse.ArgumentParser]]:
    found = []
    for top in (pipeline_line.parser(), training_line.parser()):
        found += [(f"{top.prog} {name}", top, sub) for name, sub in reference.verbs(top).items()]
    return found


@pytest.mark.parametrize(("name", "top", "sub"), verbs(), ids=[name for name, _, _ in verbs()])
def test_every_verb_has_an_example_that_parses_a_json_flag_and_a_word_for_each_flag(
    name: str, top: argparse.ArgumentParser, sub: argparse.ArgumentParser
) -> None:
    example = (sub.epilog or "").rpartition("example:\n")[2].strip()
    assert example.startswith(name)
    words = shlex.split(example)[3:]
    assert top.parse_args(words).verb == name.split()[-1]
    assert top.parse_args([*words, "--json"]).json
    for action in reference.flags(sub):
        assert action.help, f"{name} {action.dest} is not explained"


def test_every_verb_of_the_pipeline_has_a_function() -> None:
    assert set(pipeline_verbs.VERBS) == set(reference.verbs(pipeline_line.parser()))


def test_keys_without_an_explanation_say_enough_by_their_names() -> None:
    """Only these may stand without a text under them."""
    lines = [line.split(" | ") for line in reference.config().splitlines() if line.startswith("| ")]
    silent = {cells[0][2:] for cells in lines if cells[-1].strip(" |") == ""}
    assert silent <= {"epochs", "optimizer.momentum", "optimizer.decay"}


def test_docs_lead_to_files_that_are_there() -> None:
    root = reference.DOCS.parent
    for page in [root / "README.md", root / "CONTRIBUTING.md", *reference.DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} leads to {target}"
        for target in re.findall(
            r"(?<![\w/])(?:docs|tests|benchmarks|pipeline|training|schemas)/[\w/]+\.\w+",
            page.read_text(encoding="utf-8"),
        ):
            assert (root / target).exists(), f"{page.name} names {target}"


def test_paths_in_the_help_of_code_are_there() -> None:
    root = reference.DOCS.parent
    for file in [
        *root.glob("pipeline/**/*.py"),
        *root.glob("training/**/*.py"),
        *root.glob("schemas/*.py"),
        *root.glob("common/*.py"),
    ]:
        for target in re.findall(r"\bdocs/[a-z_/-]+\.md\b", file.read_text(encoding="utf-8")):
            assert (root / target).exists(), f"{file} names {target}"


def test_configuration_keys_in_the_docs_exist() -> None:
    rows = re.findall(r"^\| ([a-z_0-9.*]+) \|", reference.config(), re.MULTILINE)
    keys = {row.strip("*") for row in rows}
    sections = {key.partition(".")[0] for key in keys if "." in key}
    for page in [reference.DOCS.parent / "README.md", *reference.DOCS.rglob("*.md")]:
        for section, key in re.findall(r"`([a-z_]+)\.([a-z_0-9]+)[:`]", page.read_text(encoding="utf-8")):
            if section in sections and (section, key) != ("ingest", "preset"):
                assert f"{section}.{key}" in keys, (
                    f"{page.name} names the key {section}.{key}, which does not exist"
                )
