"""What `publish` writes is a dataset that our own and other tools take, and it changes only with build and statements."""

import dataclasses
import io
import json
import os
import shutil
from pathlib import Path

import datasets
import jsonschema
import mlcroissant
import pandas as pd
import pytest
import yaml
from absl import logging as absl_logging

from common.atomic_file import TEMPORARY_PREFIX
from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.publication_config import Author, PublicationConfig
from pipeline.publish.card import published_card
from pipeline.publish.facts import MeasuredValue, VoteFacts, read_facts
from pipeline.publish.release import ImageFacts, Release
from pipeline.publish.statements import (
    agreement,
    class_counts,
    manipulation,
    meaning_of_levels,
    training_sets,
)
from pipeline.shards import commit
from pipeline.verify.dataset import verify
from tests.pipeline.built_tables import digests

SCHEMA = Path(__file__).parents[2] / "golden" / "citation_file_format" / "schema-1.2.0.json"


def card(folder: Path) -> tuple[dict, str]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_folder_is_a_dataset_that_verify_accepts(published):
    result = verify(str(published))
    assert result.problems == ()
    assert result.counts["sets"] == 13


def test_every_config_loads_with_datasets(published, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    header, _ = card(published)
    names = [config["config_name"] for config in header["configs"]]
    assert len(names) == 12
    for name in names:
        loaded = datasets.load_dataset(str(published), name, cache_dir=str(tmp_path / "cache"))
        assert set(loaded) == {"train", "test"}
        assert loaded["train"].features["label"].names == ["ant", "bee", "cow"]
    assert loaded["train"][0]["image"].size == (32, 32)


def test_croissant_validates_without_a_warning_and_loads_records(published, caplog):
    said = io.StringIO()
    absl_logging.get_absl_handler().python_handler.stream = said
    opened = mlcroissant.Dataset(jsonld=str(published / "croissant.json"))
    issues = opened.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    assert "WARNING" not in said.getvalue() + caplog.text
    records = list(opened.records("red-0.50"))
    assert len(records) == 60
    assert sum(not record["red-0.50/is_clean"] for record in records) == 30
    assert records[0]["red-0.50/image"].size == (32, 32)


# The list of http://mlcommons.org/croissant/RAI/1.0, without those of imputation and of machine annotation, which do not
# happen here.
RAI = {
    "dataCollection", "dataCollectionType", "dataCollectionMissingData", "dataCollectionRawData",
    "dataCollectionTimeframe", "dataManipulationProtocol", "dataPreprocessingProtocol", "dataAnnotationProtocol",
    "dataAnnotationPlatform", "dataAnnotationAnalysis", "dataReleaseMaintenancePlan", "personalSensitiveInformation",
    "dataSocialImpact", "dataBiases", "dataLimitations", "dataUseCases", "annotationsPerItem", "annotatorDemographics",
}  # fmt: skip


def test_croissant_has_the_properties_of_version_1_1_and_of_responsible_ai(published):
    described = json.loads((published / "croissant.json").read_text(encoding="utf-8"))
    assert described["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/RAI/1.0",
    ]
    for name in (
        "description",
        "license",
        "name",
        "url",
        "creator",
        "datePublished",
        "version",
        "keywords",
        "citeAs",
    ):
        assert described[name], name  # required or recommended by the specification
    for name in RAI:
        assert described[f"rai:{name}"], name
    assert described["rai:annotationsPerItem"] == "3"
    assert described["rai:dataCollectionTimeframe"] == ["2026-03-01", "2026-04-15"]
    assert described["prov:wasDerivedFrom"] == [
        {"@id": "https://example.org/photos"},
        {"prov:label": "a collection of drawings"},
    ]
    assert described["creator"][0]["affiliation"]["name"] == "Example University"
    assert described["creator"][1]["@type"] == "sc:Organization"


def test_properties_of_responsible_ai_are_read_by_mlcroissant(published):
    metadata = mlcroissant.Dataset(jsonld=str(published / "croissant.json")).metadata
    assert metadata.annotations_per_item == "3"
    assert "3 workers gave" in metadata.data_annotation_protocol[0]
    assert metadata.data_annotation_platform == ["an example platform"]


def test_the_card_states_what_the_build_knows(published):
    header, body = card(published)
    assert header["license"] == "cc-by-4.0"
    assert header["size_categories"] == ["n<1K"]
    assert "# Ants, bees \\& cows" in body
    assert "| red-0.50 | 60 | 50.0% | 50.00% |" in body
    assert "3 workers gave" in body
    assert "Krippendorff's α: " in body
    assert "| web | cc-by | CC BY 4.0 |" in body
    assert "1 web images that are near-duplicates of test images were removed" in body
    assert "Estimated true noise with 95 % intervals: red-" in body
    assert "The authors do not state it." in body  # demographics


def test_the_citation_file_is_valid(published):
    cited = yaml.safe_load((published / "CITATION.cff").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(
        json.loads(SCHEMA.read_text()), format_checker=jsonschema.FormatChecker()
    ).validate(cited)
    assert cited["authors"][0] == {
        "family-names": "Lovelace",
        "given-names": "Ada",
        "affiliation": "Example University",
        "orcid": "https://orcid.org/0000-0002-1825-0097",
    }
    assert cited["authors"][1] == {"name": "Example Laboratory"}


def test_bibtex_has_the_statements(published):
    assert (published / "CITATION.bib").read_text() == (
        "@misc{lovelace2026controlled,\n"
        "  author = {Lovelace, Ada and {Example Laboratory}},\n"
        "  title = {{Ants, bees \\& cows}},\n"
        "  year = {2026},\n"
        "  version = {1.0.0},\n"
        "  url = {https://example.org/ants},\n"
        "  note = {Dataset, version 1.0.0},\n"
        "}\n"
    )


def test_equal_statements_give_equal_bytes_wherever_the_folder_is(publish, published, tmp_path):
    first = digests(published)
    assert publish(to="elsewhere") == 0
    assert digests(tmp_path / "elsewhere") == first
    assert publish() == 0  # over itself
    assert digests(published) == first


def test_publishing_changes_nothing_in_the_build(publish, built):
    before = digests(built)
    assert publish() == 0
    assert digests(built) == before


def test_shards_are_links_on_one_disk(published, built):
    shard = next((published / "red-0.50").glob("*.parquet"))
    assert os.path.samefile(shard, built / "dataset" / "red-0.50" / shard.name)


def test_a_smaller_publication_replaces_a_larger_one(publish, published):
    assert publish("--set-name", "red-0.20") == 0
    assert sorted(path.name for path in published.iterdir() if path.is_dir()) == ["red-0.20", "test"]
    assert verify(str(published)).problems == ()
    header, _ = card(published)
    assert [config["config_name"] for config in header["configs"]] == ["red-0.20"]


def test_an_unknown_set_is_an_error(publish, capsys):
    assert publish("--set-name", "red-0.30") == 1
    assert "has no set 'red-0.30'" in capsys.readouterr().err


def test_a_damaged_shard_is_not_published(publish, built, tmp_path, capsys):
    build = Path(shutil.copytree(built, tmp_path / "build"))
    shard = next((build / "dataset" / "red-0.50").glob("*.parquet"))
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    assert publish(build=build) == 1
    assert "its bytes differ from those that were written" in capsys.readouterr().err
    assert not (tmp_path / "published" / "_manifest.json").exists()
    shutil.rmtree(build / "dataset")
    shutil.copytree(built / "dataset", build / "dataset")
    assert publish(build=build) == 0
    assert verify(str(tmp_path / "published")).problems == ()


def test_a_damaged_copy_in_a_publication_is_replaced(publish, published, built):
    shard = next((published / "red-0.50").glob("*.parquet"))
    data = shard.read_bytes()
    shard.unlink()  # a link to the shard of the build
    shard.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert verify(str(published)).problems
    assert publish() == 0
    assert shard.read_bytes() == data == (built / "dataset" / "red-0.50" / shard.name).read_bytes()
    assert verify(str(published)).problems == ()


def test_a_build_of_another_configuration_is_not_published(publish, capsys):
    assert publish("--set", "noise.trials=2") == 1
    assert "was built with noise.trials: 1, the configuration has 2" in capsys.readouterr().err


def test_missing_statements_are_named(publish, capsys):
    assert publish(authors=[], license="", url="") == 2
    assert "publication: authors, license, url missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ({"version": "1"}, "version '1' is not MAJOR.MINOR.PATCH"),
        ({"date": "12/01/2026"}, "date '12/01/2026' is not a date"),
        ({"license": "mine"}, "license 'mine' is neither a URL nor one of"),
        ({"url": "javascript:alert(1)"}, "is not a web address"),
        ({"authors": [{"name": "A", "orcid": "0000-0002-1825-0098"}]}, "is not an ORCID iD"),
        ({"question": "Is it?"}, "lacks {class}"),
        ({"image_licenses": {"clean": "mine"}}, "'mine' is not one of"),
        ({"image_licenses": {"klean": "cc0"}}, "image_licenses names 'klean'"),
        ({"collected_until": "2026-02-01"}, "is before collected_from"),
    ],
)
def test_wrong_statements_are_errors_of_the_configuration(publish, capsys, statement, message):
    assert publish(**statement) == 2
    assert message in capsys.readouterr().err


def test_a_foreign_folder_is_left_alone(publish, tmp_path, built, capsys):
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "thesis.tex").write_text("years of work")
    assert publish() == 1
    assert "holds 'thesis.tex', which no build has written" in capsys.readouterr().err
    shutil.copytree(built / "dataset", tmp_path / "copy")
    assert publish(to="copy") == 1
    assert "was not published there" in capsys.readouterr().err


def test_files_beside_the_sets_are_covered_by_verify(published):
    (published / "methods.md").write_text("something else")
    (published / "load_script.py").write_text("print('hello')")
    problems = "\n".join(verify(str(published)).problems)
    assert "methods.md: changed since the dataset was built" in problems
    assert "load_script.py: not part of the dataset" in problems


def test_attributions_list_every_image_that_has_one(published):
    rows = pd.read_csv(published / "ATTRIBUTION.csv", keep_default_na=False)
    assert set(rows["source"]) == {"web"}
    assert rows["creator"].str.startswith("artist ").all()
    assert rows["title"].str.startswith("No. ").all()
    assert rows["image_id"].is_unique
    assert set(rows["license"]) == {"CC BY 4.0", ""}


def test_the_line_to_upload_is_printed(publish, tmp_path, capsys):
    assert publish() == 0
    assert f"upload: hf upload USER/NAME {tmp_path}/published --repo-type dataset" in capsys.readouterr().out
    assert publish("--json") == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 12 * 60 + 18


DRAWN = {"color": "red", "nested": True, "on_shortage": "error", "noise_level": 0.4, "set_name": "red-0.40"}
BLUE = DRAWN | {"color": "blue", "noise_level": 0.2, "set_name": "blue-0.20"}
FIXED = DRAWN | {"fixed_set": {"realized_noise": 0.3}, "nested": False, "set_name": "mine"}
VERDICTS = "every wrong example is an image that the workers' votes call wrong"
SHORTAGE = "A class with too few wrong images has less noise than the level"
MEASURED = "Sets given by a list have the noise that was measured"
BY_LABELS = "The noise of a blue set counts clean labels as right."


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([DRAWN, {}], {VERDICTS}),
        ([DRAWN, BLUE], {VERDICTS, BY_LABELS}),
        ([DRAWN | {"on_shortage": "cap"}, {}], {VERDICTS, SHORTAGE}),
        ([FIXED, {}], {MEASURED}),
        ([FIXED, DRAWN], {MEASURED, VERDICTS}),
    ],
)
def test_the_meaning_of_levels_is_that_of_the_published_sets(sets, said):
    text = " ".join(meaning_of_levels(sets))
    assert {part for part in (VERDICTS, SHORTAGE, MEASURED, BY_LABELS) if part in text} == said


def test_sets_of_a_list_are_not_said_to_be_drawn():
    assert training_sets([FIXED], 7) == "Training sets given by a list: mine."
    both = training_sets([DRAWN, FIXED, DRAWN | {"noise_level": 0.2}, {}], 7)
    assert (
        both == "Training sets were drawn with seed 7: red (20, 40 %). Training sets given by a list: mine."
    )
    assert "are flipped" not in manipulation([DRAWN, FIXED])
    assert "replace clean images" not in manipulation([BLUE, FIXED])
    assert manipulation([FIXED]) == "Sets given by a list have the images and labels of the list."


def test_without_votes_annotations_are_found(published, built, world):
    header, _ = card(published)
    assert header["annotations_creators"] == ["crowdsourced"]
    facts = read_facts(str(built), load_config(str(world.config), []))
    config = PublicationConfig(authors=(Author("Ada"),), license="MIT", date="2026-12-01")
    release = Release(dataclasses.replace(facts, votes=VoteFacts()), config, ImageFacts(), "https://x")
    text = published_card(release)
    without = yaml.safe_load(text.split("---\n", 2)[1])
    assert without["annotations_creators"] == ["found"]
    assert set(header["tags"]) - set(without["tags"]) == {"crowdsourcing"}


def test_the_agreement_of_classes_has_intervals_and_is_compared_between_classes_alone(world, built):
    facts = read_facts(str(built), load_config(str(world.config), []))
    config = PublicationConfig(authors=(Author("Ada"),), license="MIT", date="2026-12-01")

    def said(**by_class: float) -> list[str]:
        votes = VoteFacts(by_class={name: MeasuredValue(v, v - 0.1, v + 0.1) for name, v in by_class.items()})
        return agreement(Release(dataclasses.replace(facts, votes=votes), config, ImageFacts(), "https://x"))

    [sentence] = said(ant=0.3, bee=0.5, cow=0.4)
    assert (
        "lowest for ant, 0.300 (95 % interval 0.200 to 0.400), and highest for bee, 0.500 (95 %" in sentence
    )
    assert said(ant=0.3) == []


@pytest.mark.parametrize(
    ("sets", "end"),
    [
        ([DRAWN, {}], "of the level, and a higher level contains the noise of a lower one."),
        ([DRAWN | {"nested": False}], "of the level; each level was drawn on its own."),
        (
            [DRAWN | {"on_shortage": "cap"}],
            "of the level, except where a class has too few wrong images for the level, and a higher level contains the noise "
            "of a lower one.",
        ),
        ([DRAWN | {"fixed_set": {"n": 1}, "nested": False}], "The sets are exactly as they were listed."),
    ],
)
def test_the_methods_say_how_wrong_labels_are_divided_among_classes(sets, end):
    assert class_counts(sets).endswith(end)


def test_the_methods_of_a_nested_build_say_so(published):
    assert "a higher level contains the noise of a lower one" in (published / "methods.md").read_text()


def test_a_second_command_does_not_publish_to_the_same_folder(publish, published, capsys, monkeypatch):
    """Started before each change of the first one to the sets, it would remove what the first one has written."""
    refused, swap = [], commit.swap

    def interfered(folder, manifest):
        monkeypatch.setattr(commit, "swap", swap)
        refused.append(publish("--set-name", "blue-0.20"))
        monkeypatch.setattr(commit, "swap", interfered)
        swap(folder, manifest)

    monkeypatch.setattr(commit, "swap", interfered)
    assert publish("--set-name", "red-0.20") == 0
    assert set(refused) == {2}
    assert f"{published}: another publish is writing to this folder" in capsys.readouterr().err
    assert main(["verify", str(published)]) == 0


def test_what_a_killed_command_has_left_is_not_given_away(publish, published):
    before = digests(published)
    for folder in (published, published / "red-0.20"):
        (folder / f"{TEMPORARY_PREFIX}0123456789abcdef-README.md").write_text("half a")
    assert publish() == 0
    assert digests(published) == before
